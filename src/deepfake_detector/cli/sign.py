"""A bundle's folder and an Ed25519 key -> SHA256SUMS.sig beside its digests; or a new pair of keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepfake_detector.errors import BadInput


def sign(
    bundle: Annotated[Path | None, typer.Argument(help="Folder of a model bundle.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file with the private key.")] = None,
    new_key: Annotated[str, typer.Option("--new-key", metavar="NAME", help="Make NAME.pem and NAME.pub.pem.")] = "",
) -> None:
    """Sign a model bundle, so that programs with DEEPFAKE_BUNDLE_PUBLIC_KEY accept it and no other."""
    from deepfake_detector.model.bundle import sign_bundle
    from deepfake_detector.model.bundle_signature import PUBLIC_KEY_VARIABLE, SIGNATURE, create_key_pair

    if new_key:
        private, public = Path(f"{new_key}.pem"), Path(f"{new_key}.pub.pem")
        create_key_pair(private, public)
        print(
            f"wrote {private} (keep it secret) and {public}; set {PUBLIC_KEY_VARIABLE}={public} where bundles are used"
        )
        key = key or private
    if bundle is None and new_key:
        return
    if bundle is None or key is None:
        raise BadInput("a bundle and a key are needed", "`deepfake sign BUNDLE --key NAME.pem`, or --new-key NAME")
    print(f"signed {bundle / SIGNATURE}: bundle {sign_bundle(bundle, key)[:12]}")
