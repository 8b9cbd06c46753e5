"""`vanfast sample`: draws from a trained network into a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from vanfast import store
from vanfast.cli.output import print_json
from vanfast.cli.sampling import Pieces, add_sampling_options, load_trained, sampler_of
from vanfast.cli.signals import sigterm_like_ctrl_c


def configure(parser: argparse.ArgumentParser) -> None:
    add_sampling_options(parser, default_num=100_000, writers="vanfast train or fit")
    parser.add_argument("-o", "--out", required=True, metavar="FILE", help="sample set, .npz or .h5")
    parser.add_argument("--format", choices=store.FORMATS, help="default: by the ending of FILE")
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def run(arguments: argparse.Namespace) -> int:
    from vanfast.saving import digest
    from vanfast.training import Run

    store.format_of(arguments.out, arguments.format)
    trained = load_trained(arguments.run)
    ham, beta = (trained.hamiltonian, trained.beta) if isinstance(trained, Run) else (None, None)
    pieces = Pieces(sampler_of(trained, arguments), arguments)
    writer = store.SampleWriter(
        arguments.out,
        format=arguments.format,
        count=arguments.num,
        num_sites=trained.net.num_sites,
        seed=arguments.seed,
        first=arguments.first,
        network_digest=digest(trained.net),
        hamiltonian=ham,
        shape=trained.net.shape if ham is None else ham.shape,
        q=trained.net.q,
        extra={
            "beta": beta,
            "network": trained.net.config(),
            "precision": pieces.sampler.precision,
            "backend": pieces.sampler.backend,
        },
    )
    with sigterm_like_ctrl_c(), writer:
        for piece in pieces:
            writer.write(piece.spins, piece.log_q, piece.energy)
    size = Path(arguments.out).stat().st_size
    if arguments.json:
        print_json(
            {
                "file": arguments.out,
                "count": arguments.num,
                "bytes": size,
                "seed": arguments.seed,
                "first": arguments.first,
                "network_digest": writer.meta["network_digest"],
                "samples_per_second": pieces.rate,
            }
        )
    else:
        print(f"{arguments.num:,} samples in {arguments.out} ({size / 1e6:.1f} MB), {pieces.rate:,.0f} samples/s")
    return 0
