"""The five pages; each is one live view that its one timer refreshes once a second.

Not called `pages`: Streamlit takes a folder of that name beside the script for pages of its own.
"""
