"""The page Learned.

page.py           the page: the form, the picture that is being optimized, and the gallery
live_preview.py   the picture that is being optimized
gallery.py        the finished pictures
"""
