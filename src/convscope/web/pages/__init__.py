"""The pages of the workbench, one in each module; `convscope.web.page_registry` finds them by being in this package."""
