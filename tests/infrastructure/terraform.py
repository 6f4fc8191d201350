"""Terraform as the tests use it: the real binary and the real AWS provider over a copy of terraform/."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "terraform"
# A folder that holds registry.terraform.io/hashicorp/aws/…, for machines that reach no registry of Terraform.
PLUGINS = Path(os.environ.get("TERRAFORM_PLUGINS", "/opt/tf-plugins"))

# What differs from terraform/: state in a file; one service that an address without a domain cannot be asked for (its
# clients put the account's number before the host); buckets by path, for the same reason.
OVERRIDES = {
    "test_override.tf": """
        terraform {
          backend "local" {}
        }
        provider "aws" {
          s3_use_path_style = true
        }
    """,
    "modules/account/test_override.tf": """
        resource "aws_s3_account_public_access_block" "this" {
          count = 0
        }
    """,
}


class NotToBeHad(Exception):
    """Terraform or its provider is not on this machine, and cannot be fetched."""


@dataclass(frozen=True)
class Terraform:
    """An initialised copy of terraform/, and the environment that its commands run in."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def prepare(cls, folder: Path) -> Terraform:
        """Copy terraform/ into `folder` and initialise it. Raises `NotToBeHad`."""
        if shutil.which("terraform") is None:
            raise NotToBeHad("no terraform on PATH. Install 1.11 or newer; README.md, «On AWS», says how.")
        copy = folder / "terraform"
        shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", "terraform.tfvars"))
        for name, text in OVERRIDES.items():
            (copy / name).write_text(text, encoding="utf-8")
        terraform = cls(copy, {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull})
        initialised = terraform.initialise()
        if initialised.returncode:
            raise NotToBeHad(f"the AWS provider: {initialised.stderr.strip()[-500:]}")
        return terraform

    def initialise(self, folder: str = ".") -> subprocess.CompletedProcess[str]:
        """`terraform init`, from PLUGINS where there is such a folder."""
        plugins = [f"-plugin-dir={PLUGINS}"] if PLUGINS.is_dir() else []
        return self(f"-chdir={folder}", "init", "-input=false", *plugins)

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Terraform in the copy."""
        return subprocess.run(
            ["terraform", *arguments],
            cwd=self.folder,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=420,
        )
