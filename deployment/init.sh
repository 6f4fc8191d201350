#!/bin/bash
# What the services need before they start; runs at every start, and changes nothing that is there.
set -euo pipefail

/opt/medilink/venv/bin/python -P /opt/airflow/deployment/prepare.py
airflow db migrate
