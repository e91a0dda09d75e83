"""The pages of the workbench, one in each folder with the parts that only it uses.

`convscope.web.frame.page_registry` imports the module ``page`` of every folder, which registers its page.
"""
