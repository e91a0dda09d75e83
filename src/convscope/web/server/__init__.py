"""The server: one application with the pages and the API, and what stands before them.

app.py         the application, and the server that runs it
security.py    access control: token, host, origin, size
not_found.py   the page for unknown addresses
"""
