"""The embedded services: PostgreSQL, S3, Airflow and the API as supervised processes of `./start.sh`."""
