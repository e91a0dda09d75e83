"""One way of looking a file: each declared once, each a few lines of its paper's maths."""
