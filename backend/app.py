"""The REST API: `python -m backend` serves it."""

from __future__ import annotations

from flask_openapi3.models.info import Info
from flask_openapi3.types import SecuritySchemesDict

from backend.access import guard
from backend.access_log import log_accesses
from backend.analytics.routes import analytics
from backend.api import Api
from backend.auth.routes import auth
from backend.bodies import read_in_time
from backend.database import connect
from backend.documentation.routes import documentation
from backend.facilities.routes import facilities
from backend.headers import secure
from backend.health.routes import health
from backend.medical_records.routes import medical_records
from backend.metrics.routes import measure, metrics
from backend.nhs_data.routes import nhs_data
from backend.parameters import read_parameters
from backend.patients.routes import patients
from backend.pipeline.routes import pipeline
from backend.problems import Problem, handle_problems, invalid_request
from backend.quarantine.routes import quarantine
from backend.triage_visits.routes import triage_visits
from elt.settings import Settings

INFO = Info(
    title="Medilink",
    version="1.0.0",
    summary="Facilities, patients, medical records and triage visits, and what the marts say about them.",
    description=(
        "Lists are bare JSON arrays. Page them with `page` and `per_page`, or with `after` and `limit`; while there is "
        'more, the header `Link: <…>; rel="next"` holds the address of the next page, relative to this host. '
        "Times are UTC. Errors are `application/problem+json` (RFC 9457). What a caller sees follows from the role and "
        "the facilities of their token; a patient of another facility is not found.\n\n"
        "The same to read: [Redoc](/redoc). The warehouse behind it, model by model: [dbt docs](/dbt-docs/) "
        "(name and secret of a client)."
    ),
)
SECURITY_SCHEMES: SecuritySchemesDict = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "a token from `POST /api/auth/token`, or from `medilink token`",
    }
}


RESOURCES = (
    health,
    auth,
    facilities,
    patients,
    medical_records,
    triage_visits,
    analytics,
    pipeline,
    nhs_data,
    quarantine,
    metrics,
)


def create_app(settings: Settings | None = None) -> Api:
    """The application. Raises ValueError without its secrets; the database may still be down."""
    settings = settings or Settings()
    if not settings.api_postgres_password.get_secret_value():
        raise ValueError(
            "API_POSTGRES_PASSWORD is empty. Set it in .env (start.sh generates one), or API_POSTGRES_PASSWORD_FILE to "
            "a file."
        )
    app = Api(
        __name__,
        info=INFO,
        security_schemes=SECURITY_SCHEMES,
        validation_error_model=Problem,
        validation_error_callback=invalid_request,
        doc_ui=False,
        static_folder=None,
    )
    app.url_map.strict_slashes = False
    # No redirect to another address: it would need the host.
    app.url_map.merge_slashes = False
    app.config.update(
        MAX_CONTENT_LENGTH=1024 * 1024,
        MAX_FORM_PARTS=20,
        MEDILINK_HOME=settings.medilink_home,
    )
    app.extensions["medilink_settings"] = settings
    connect(app, settings)
    measure(app)
    secure(app, settings)
    log_accesses(app)
    guard(app, settings)
    read_parameters(app)
    handle_problems(app)
    read_in_time(app)
    app.register_blueprint(documentation)
    for resource in RESOURCES:
        app.register_api(resource)
    return app
