"""The Streamlit dashboard over the REST API; it never talks to the database."""
