"""Event contracts, units, topics, broker, configuration, signing, pseudonyms, audit, metrics.

The left-most room: it knows messages and Kafka, and nothing of models, Ray, Faust or Streamlit.
"""
