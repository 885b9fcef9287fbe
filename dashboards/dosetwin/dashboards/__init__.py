"""The Streamlit monitoring view: ward, patient, commands, alerts, system."""
