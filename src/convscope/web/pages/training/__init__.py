"""The page Training.

page.py         the page: findings, curves and pictures of a log, drawn again when the log grows
run_drawing.py  what is drawn of a log
"""
