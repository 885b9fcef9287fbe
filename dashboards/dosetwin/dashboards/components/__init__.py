"""The views that draw in the browser: one component a page, of one shell and the page's own script."""
