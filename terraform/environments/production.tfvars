# Multi-AZ, protected against deletion, backups in a second region.
environment          = "production"
vpc_cidr             = "10.42.0.0/16"
ec2_instance_type    = "m7i.2xlarge"
db_instance_class    = "db.m7g.xlarge"
db_allocated_storage = 200
db_multi_az          = true
backup_copy_region   = "eu-central-1"
