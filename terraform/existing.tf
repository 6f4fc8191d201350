# What exists at AWS, so that a typing error is refused before anything is planned rather than half-way through an apply.

locals {
  regions = [
    "af-south-1", "ap-east-1", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2",
    "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-7",
    "ca-central-1", "ca-west-1", "eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2",
    "eu-west-1", "eu-west-2", "eu-west-3", "il-central-1", "me-central-1", "me-south-1", "mx-central-1", "sa-east-1",
    "us-east-1", "us-east-2", "us-west-1", "us-west-2",
  ]

  instance_types = flatten([
    for family, sizes in {
      t3  = ["large", "xlarge", "2xlarge"]
      m6i = ["large", "xlarge", "2xlarge", "4xlarge", "8xlarge"]
      m7i = ["large", "xlarge", "2xlarge", "4xlarge", "8xlarge"]
      c6i = ["xlarge", "2xlarge", "4xlarge", "8xlarge"]
      c7i = ["xlarge", "2xlarge", "4xlarge", "8xlarge"]
      r6i = ["large", "xlarge", "2xlarge", "4xlarge", "8xlarge"]
      r7i = ["large", "xlarge", "2xlarge", "4xlarge", "8xlarge"]
    } : [for size in sizes : "${family}.${size}"]
  ])

  db_instance_classes = flatten([
    for family, sizes in {
      t3  = ["micro", "small", "medium", "large", "xlarge", "2xlarge"]
      t4g = ["micro", "small", "medium", "large", "xlarge", "2xlarge"]
      m6g = ["large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge"]
      m6i = ["large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge", "32xlarge"]
      m7g = ["large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge"]
      r6g = ["large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge"]
      r6i = ["large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge", "32xlarge"]
      r7g = ["large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge"]
    } : [for size in sizes : "db.${family}.${size}"]
  ])
}
