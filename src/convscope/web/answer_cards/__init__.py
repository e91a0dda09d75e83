"""What the page Look is made of.

source.py     which model and which image: the list of images, uploads, the camera
answer.py     what the model answers, and what of it is explained
asked.py      whether the network has the class that is asked for, and what it answers of it
chooser.py    lenses by family
card.py       one lens: its picture, its form, what can be taken from it
pins.py       maps that are kept beside each other
"""
