"""Name of a bucket -> that bucket in the S3 store of MLFLOW_S3_ENDPOINT_URL, unless it is there already."""

from __future__ import annotations

import os
import sys

import boto3


def main() -> None:
    """Make the bucket that the first argument names."""
    store = boto3.client("s3", endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL"))
    name = sys.argv[1]
    if name in {bucket["Name"] for bucket in store.list_buckets()["Buckets"]}:
        print(f"bucket {name} exists")
        return
    store.create_bucket(Bucket=name)
    print(f"bucket {name} was made")


if __name__ == "__main__":
    main()
