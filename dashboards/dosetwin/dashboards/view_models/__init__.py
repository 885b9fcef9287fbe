"""Pure functions from a snapshot to what a page shows: plain data, no Streamlit, no clock of their own."""
