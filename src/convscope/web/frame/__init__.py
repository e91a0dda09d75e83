"""What surrounds the content of every page.

page_registry.py   the list of pages
page_context.py    what a page is built with: language, theme, services, browser tab
page_layout.py     what all pages share: navigation, language, theme
lens_page.py       which page shows a lens
"""
