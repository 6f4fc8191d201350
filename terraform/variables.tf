# --- Where, and what it is called -----------------------------------------------------------------------------------

variable "aws_region" {
  description = "Region of everything, e.g. eu-west-1"
  type        = string
  default     = "eu-west-1"

  validation {
    condition     = contains(local.regions, var.aws_region)
    error_message = "aws_region is not a region of AWS as it is written here. Write it like eu-west-1: an area, a direction, a number, without the letter of a zone."
  }
}

variable "account_id" {
  description = "The only AWS account that may be changed. Credentials of another one are refused by the provider"
  type        = string
  default     = null

  validation {
    condition     = var.account_id == null || can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id is the 12 digits that `aws sts get-caller-identity --query Account` prints, without dashes."
  }
  validation {
    condition     = var.account_id != null || var.environment != "production"
    error_message = "production needs account_id, so that a shell with the wrong profile cannot change it: aws sts get-caller-identity --query Account"
  }
}

variable "project_name" {
  description = "First part of every name"
  type        = string
  default     = "medilink"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.project_name))
    error_message = "project_name has 3 to 20 lower-case letters, digits and dashes, and begins with a letter: it becomes part of the names of buckets and databases."
  }
}

variable "environment" {
  description = "dev, staging or production; one variable file and one state each"
  type        = string

  validation {
    condition     = contains(["dev", "staging", "production"], var.environment)
    error_message = "environment is dev, staging or production: terraform apply -var-file=environments/dev.tfvars"
  }
}

variable "tags" {
  description = "Tags of everything, beside Project, Environment and ManagedBy"
  type        = map(string)
  default     = {}
}

# --- Network --------------------------------------------------------------------------------------------------------

variable "vpc_cidr" {
  description = "Addresses of the VPC; cut into four subnets, two public and two private"
  type        = string
  default     = "10.40.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && can(regex("/(1[6-9]|2[0-4])$", var.vpc_cidr))
    error_message = "vpc_cidr is an IPv4 network of /16 to /24, e.g. 10.40.0.0/16."
  }
  validation {
    condition     = can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.)", var.vpc_cidr))
    error_message = "vpc_cidr is not private. Take it from 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16."
  }
}

variable "availability_zones" {
  description = "Two zones of the region; empty: a and b"
  type        = list(string)
  default     = []

  validation {
    condition     = contains([0, 2], length(distinct(var.availability_zones))) && length(var.availability_zones) < 3
    error_message = "availability_zones names two different zones, e.g. [\"eu-west-1a\", \"eu-west-1b\"], or none, which means a and b (where your account has no b, name two that `aws ec2 describe-availability-zones` shows)."
  }
  validation {
    condition     = alltrue([for zone in var.availability_zones : can(regex("^${var.aws_region}[a-f]$", zone))])
    error_message = "availability_zones lie in aws_region: its name and a letter, e.g. eu-west-1a."
  }
}

variable "allowed_cidr_blocks" {
  description = "Networks whose people may reach API, dashboard and Airflow over TLS; empty: nobody"
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for block in var.allowed_cidr_blocks : can(cidrnetmask(block))])
    error_message = "allowed_cidr_blocks are IPv4 networks, e.g. [\"203.0.113.0/24\"]."
  }
  validation {
    condition     = alltrue([for block in var.allowed_cidr_blocks : !endswith(block, "/0")])
    error_message = "allowed_cidr_blocks opens patient records to the whole internet. Name the networks of those who use them."
  }
}

variable "domain_name" {
  description = "Domain whose names api., airflow. and dashboard. lead to the load balancer (CNAME to alb_dns_name)"
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.domain_name))
    error_message = "domain_name is a domain without https:// and without a path, e.g. medilink.example.org."
  }
}

variable "certificate_arn" {
  description = "ACM certificate, in the same region, for api., airflow. and dashboard. of domain_name"
  type        = string

  validation {
    condition     = can(regex("^arn:aws:acm:${var.aws_region}:[0-9]{12}:certificate/", var.certificate_arn))
    error_message = "certificate_arn is the ARN of a certificate of ACM in aws_region: aws acm request-certificate --domain-name '*.medilink.example.org' --validation-method DNS"
  }
}

# --- Machine --------------------------------------------------------------------------------------------------------

variable "ec2_instance_type" {
  description = "Class of the machine that runs Airflow, API and dashboard; x86, as the images are"
  type        = string
  default     = "m7i.xlarge"

  validation {
    condition     = contains(local.instance_types, var.ec2_instance_type)
    error_message = "ec2_instance_type does not exist, is not x86, or has less than 8 GiB, which Airflow needs: t3.large and t3.xlarge upwards, m6i, m7i, r6i, r7i from large, c6i, c7i from xlarge."
  }
}

variable "ec2_key_name" {
  description = "Key pair for SSH through Session Manager; no SSH port is open, so none is needed"
  type        = string
  default     = null
}

# --- Database -------------------------------------------------------------------------------------------------------

variable "db_instance_class" {
  description = "Class of the RDS instance"
  type        = string
  default     = "db.t4g.medium"

  validation {
    condition     = contains(local.db_instance_classes, var.db_instance_class)
    error_message = "db_instance_class does not exist for PostgreSQL on RDS. Examples: db.t4g.medium, db.m7g.large, db.r7g.xlarge."
  }
}

variable "db_engine_version" {
  description = "Major version of PostgreSQL"
  type        = string
  default     = "18"

  validation {
    condition     = contains(["17", "18"], var.db_engine_version)
    error_message = "db_engine_version is 17 or 18; minor versions are RDS's to choose."
  }
}

variable "db_name" {
  description = "Database of the warehouse"
  type        = string
  default     = "medilink"

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.db_name))
    error_message = "db_name begins with a lower-case letter, and goes on with lower-case letters, digits and underscores."
  }
}

variable "db_username" {
  description = "Master user; makes roles and log-ins (medilink db init), and is used for nothing else"
  type        = string
  default     = "medilink_admin"

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.db_username)) && !contains(["admin", "postgres", "rdsadmin", "medilink", "medilink_api", "airflow"], var.db_username)
    error_message = "db_username is reserved by RDS, or is a log-in of the pipeline. Choose another one, e.g. medilink_admin."
  }
}

variable "db_allocated_storage" {
  description = "GiB at first; RDS makes it larger by itself, up to four times that"
  type        = number
  default     = 50

  validation {
    condition     = var.db_allocated_storage >= 20 && var.db_allocated_storage <= 16384 && floor(var.db_allocated_storage) == var.db_allocated_storage
    error_message = "db_allocated_storage is a whole number of GiB from 20 to 16384."
  }
}

variable "db_multi_az" {
  description = "A standby in the second zone. Without it a zone's failure is an outage until a restore"
  type        = bool
  default     = false

  validation {
    condition     = var.db_multi_az || var.environment != "production"
    error_message = "production promises 99.9 %: it needs db_multi_az = true."
  }
}

variable "deletion_protection" {
  description = "Database and load balancer cannot be deleted, and the last snapshot is kept"
  type        = bool
  default     = true

  validation {
    condition     = var.deletion_protection || var.environment != "production"
    error_message = "production is protected: deletion_protection = true. To take it down, say so in a commit of environments/production.tfvars and of this rule."
  }
}

variable "backup_copy_region" {
  description = "Also keep the database's 35 days of backups in this region; null: in aws_region only"
  type        = string
  default     = null

  validation {
    condition     = contains(setsubtract(local.regions, [var.aws_region]), coalesce(var.backup_copy_region, "none")) || var.backup_copy_region == null
    error_message = "backup_copy_region is another region than aws_region, e.g. eu-central-1."
  }
}

# --- Bucket ---------------------------------------------------------------------------------------------------------

variable "s3_bucket_name" {
  description = "Bucket that hospitals drop files into; empty: <project>-<environment>-drops-<account>"
  type        = string
  default     = ""

  validation {
    condition     = var.s3_bucket_name == "" || can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.s3_bucket_name))
    error_message = "s3_bucket_name has 3 to 63 lower-case letters, digits and dashes, without s3:// and without dots (they break TLS)."
  }
}

variable "s3_bucket_exists" {
  description = "Use the bucket s3_bucket_name as it is: nothing about it is changed. It must be versioned"
  type        = bool
  default     = false

  validation {
    condition     = !var.s3_bucket_exists || var.s3_bucket_name != ""
    error_message = "s3_bucket_exists = true needs s3_bucket_name: which bucket?"
  }
}

# --- Who hears of it ------------------------------------------------------------------------------------------------

variable "alarm_emails" {
  description = "Addresses that alarms are sent to; each must confirm the mail that AWS sends first"
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", address))])
    error_message = "alarm_emails are mail addresses."
  }
  validation {
    condition     = length(var.alarm_emails) > 0 || var.environment != "production"
    error_message = "production needs alarm_emails: an alarm that nobody hears is none."
  }
}

variable "manage_account" {
  description = "Also make what an account has once: CloudTrail, GuardDuty, EBS encryption by default, no public S3. For one environment of each account"
  type        = bool
  default     = true
}

# --- Retired --------------------------------------------------------------------------------------------------------

variable "db_password" {
  description = "Retired: RDS makes and rotates the master password"
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.db_password == null
    error_message = "db_password is refused: a password in a variable ends in files and in the state. RDS makes the master password and keeps it in Secrets Manager (output db_master_secret_arn). Remove db_password, and change it where else it was used."
  }
}

variable "aws_access_key" {
  description = "Retired: the instance has a role"
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.aws_access_key == null
    error_message = "aws_access_key is refused: the instance has a role, and Terraform takes your own log-in (aws sso login, AWS_PROFILE). Remove it here, and delete the key in IAM."
  }
}

variable "aws_secret_key" {
  description = "Retired: the instance has a role"
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.aws_secret_key == null
    error_message = "aws_secret_key is refused: the instance has a role, and Terraform takes your own log-in (aws sso login, AWS_PROFILE). Remove it here, and delete the key in IAM."
  }
}
