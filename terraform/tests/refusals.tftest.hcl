# What cannot be used is refused before anything is planned.

mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}
mock_provider "aws" {
  alias = "backup_copy"
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  environment         = "dev"
  account_id          = "123456789012"
  domain_name         = "medilink.example.org"
  certificate_arn     = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
  deletion_protection = false
}

run "a_region_that_does_not_exist" {
  command = plan
  variables {
    aws_region = "eu-west-9"
  }
  expect_failures = [var.aws_region]
}

run "a_zone_instead_of_a_region" {
  command = plan
  variables {
    aws_region = "eu-west-1a"
  }
  expect_failures = [var.aws_region]
}

run "a_region_without_its_area" {
  command = plan
  variables {
    aws_region = "Ireland"
  }
  expect_failures = [var.aws_region]
}

run "a_zone_of_another_region" {
  command = plan
  variables {
    availability_zones = ["eu-west-1a", "eu-central-1b"]
  }
  expect_failures = [var.availability_zones]
}

run "the_same_zone_twice" {
  command = plan
  variables {
    availability_zones = ["eu-west-1a", "eu-west-1a"]
  }
  expect_failures = [var.availability_zones]
}

run "a_cidr_that_is_none" {
  command = plan
  variables {
    vpc_cidr = "10.40.0.0"
  }
  expect_failures = [var.vpc_cidr]
}

run "a_cidr_too_small_for_four_subnets" {
  command = plan
  variables {
    vpc_cidr = "10.40.0.0/28"
  }
  expect_failures = [var.vpc_cidr]
}

run "a_public_cidr" {
  command = plan
  variables {
    vpc_cidr = "8.8.0.0/16"
  }
  expect_failures = [var.vpc_cidr]
}

run "an_octet_above_255" {
  command = plan
  variables {
    vpc_cidr = "10.400.0.0/16"
  }
  expect_failures = [var.vpc_cidr]
}

run "a_password_in_a_variable" {
  command = plan
  variables {
    db_password = "hunter2"
  }
  expect_failures = [var.db_password]
}

run "an_access_key" {
  command = plan
  variables {
    aws_access_key = "a-key"
  }
  expect_failures = [var.aws_access_key]
}

run "a_secret_key" {
  command = plan
  variables {
    aws_secret_key = "its-secret"
  }
  expect_failures = [var.aws_secret_key]
}

run "a_database_class_that_does_not_exist" {
  command = plan
  variables {
    db_instance_class = "db.t4g.gigantic"
  }
  expect_failures = [var.db_instance_class]
}

run "a_machine_class_given_to_the_database" {
  command = plan
  variables {
    db_instance_class = "m7i.large"
  }
  expect_failures = [var.db_instance_class]
}

run "a_machine_class_that_does_not_exist" {
  command = plan
  variables {
    ec2_instance_type = "t3.enormous"
  }
  expect_failures = [var.ec2_instance_type]
}

run "a_machine_of_another_architecture" {
  command = plan
  variables {
    ec2_instance_type = "t4g.large"
  }
  expect_failures = [var.ec2_instance_type]
}

run "an_account_with_dashes" {
  command = plan
  variables {
    account_id = "1234-5678-9012"
  }
  expect_failures = [var.account_id]
}

run "an_environment_without_a_file" {
  command = plan
  variables {
    environment = "prod"
  }
  expect_failures = [var.environment]
}

run "the_whole_internet" {
  command = plan
  variables {
    allowed_cidr_blocks = ["0.0.0.0/0"]
  }
  expect_failures = [var.allowed_cidr_blocks]
}

run "a_bucket_with_its_scheme" {
  command = plan
  variables {
    s3_bucket_name = "s3://drops"
  }
  expect_failures = [var.s3_bucket_name]
}

run "an_existing_bucket_without_a_name" {
  command = plan
  variables {
    s3_bucket_exists = true
  }
  expect_failures = [var.s3_bucket_exists]
}

run "a_master_user_that_is_the_pipelines" {
  command = plan
  variables {
    db_username = "medilink"
  }
  expect_failures = [var.db_username]
}

run "an_old_postgresql" {
  command = plan
  variables {
    db_engine_version = "12"
  }
  expect_failures = [var.db_engine_version]
}

run "too_little_storage" {
  command = plan
  variables {
    db_allocated_storage = 5
  }
  expect_failures = [var.db_allocated_storage]
}

run "a_copy_in_the_same_region" {
  command = plan
  variables {
    backup_copy_region = "eu-west-1"
  }
  expect_failures = [var.backup_copy_region]
}

run "a_certificate_of_another_region" {
  command = plan
  variables {
    certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/x"
  }
  expect_failures = [var.certificate_arn]
}

run "a_domain_with_its_scheme" {
  command = plan
  variables {
    domain_name = "https://medilink.example.org"
  }
  expect_failures = [var.domain_name]
}

run "production_without_what_it_promises" {
  command = plan
  variables {
    environment = "production"
    account_id  = null
  }
  expect_failures = [var.account_id, var.db_multi_az, var.deletion_protection, var.alarm_emails]
}

