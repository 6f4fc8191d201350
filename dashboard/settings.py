"""What the dashboard is told: where the API is, and whether it may open by itself."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class DashboardSettings(BaseSettings):
    """Read from the environment only: `.env` holds secrets that are none of the dashboard's business."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)

    api_base_url: str = Field("http://127.0.0.1:5000", description="address of the REST API")
    dashboard_client_id: str | None = Field(
        None, description="client that visitors are logged in as; unset: everybody logs in"
    )
    dashboard_client_secret: SecretStr = Field(SecretStr(""), description="its secret")

    @model_validator(mode="after")
    def _opens_by_itself_only_on_one_machine(self) -> DashboardSettings:
        """Whoever reaches the page would be that client: never where others could."""
        if self.dashboard_client_id and urlsplit(self.api_base_url).hostname not in LOOPBACK:
            raise ValueError(
                "DASHBOARD_CLIENT_ID opens the dashboard without a log-in, which is for ./start.sh on one machine:"
                f" the API at {self.api_base_url} is another. Unset it, and let people log in"
            )
        return self
