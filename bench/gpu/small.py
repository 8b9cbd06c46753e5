"""A small run of the cuda backend's kernels, for compute-sanitizer: `python bench/gpu/small.py`.

Awkward sizes, every network kind in every precision, boundaries of tiles; compares ln q and energies, so that it is a
test by itself.
"""

from __future__ import annotations

import argparse

import torch

import vanfast as vf
from vanfast.backends.engines.cuda_energy import DeviceEnergy, pack_spins, unpack_spins


def networks() -> list[vf.networks.Network]:
    return [
        vf.networks.PixelCNN((5, 7), depth=2, width=8, half_kernel=2, z2=True),
        vf.networks.PixelCNN((4, 17), depth=3, width=20, half_kernel=3, residual=True, z2=False),
        vf.networks.Dense(37, z2=True),
        vf.networks.Dense(20, depth=3, width=2, residual=True),
        vf.networks.MADE(33, hidden=(40,)),
        vf.networks.BernoulliMixture(33, components=5, z2=True),
    ]


def hamiltonians() -> list[vf.hamiltonians.Hamiltonian]:
    h = vf.hamiltonians
    return [
        h.IsingSquare(shape=(5, 33), field=0.5),
        h.IsingTriangular(shape=(7, 64), boundary="open"),
        h.EdwardsAnderson((4, 5, 3), "gaussian", field=0.25),
        h.SherringtonKirkpatrick(37),
        h.CurieWeiss(65),
    ]


def check_chains(clusters: bool) -> None:
    """Every Monte Carlo kernel, with what fits into shared memory there and elsewhere."""
    from chains import check

    h = vf.hamiltonians
    for ham in (h.IsingSquare(shape=(5, 8)), h.EdwardsAnderson((5, 7), "gaussian"), h.SherringtonKirkpatrick(150)):
        for algorithm in ("metropolis", "heat_bath", "tempering"):
            check(ham, algorithm)
    check(h.IsingSquare(245), "heat_bath")  # too many sites for shared memory
    for algorithm in ("swendsen_wang", "wolff") if clusters else ():
        check(h.IsingSquare(shape=(12, 13)), algorithm)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=vf.backends.NAMES, default="cuda", help="default: cuda")
    parser.add_argument("--racecheck", action="store_true", help="without clusters, which are joined without locks")
    parser.add_argument("--count", type=int, default=100, help="samples; default: 100")
    options = parser.parse_args()
    torch.manual_seed(0)
    backend = vf.backends.get(options.backend)
    runs = [(net, precision) for net in networks() for precision in vf.backends.PRECISIONS]
    for net, precision in runs:
        if backend.refuses(net, precision):  # a mixture has nothing to round
            continue
        sampler = vf.Sampler(net, backend=options.backend, precision=precision)
        batch = sampler.sample(options.count, seed=1)
        torch.testing.assert_close(sampler.log_prob(batch.spins), batch.log_q, rtol=0, atol=1e-9)
        if precision == "fp32":
            with torch.no_grad():
                error = (batch.log_q.cpu() - net.double().log_prob(batch.spins.cpu())).abs().max()
            net.float()
            assert error < 1e-3, f"ln q is off by {error}: {net}"
    if options.backend == "cuda":
        from vanfast import _cuda

        for ham in hamiltonians():
            spins = (2 * torch.randint(0, 2, (options.count, ham.num_sites)) - 1).to(torch.int8)
            energy = DeviceEnergy(ham, "cuda", _cuda).evaluate(spins.cuda()).cpu()
            torch.testing.assert_close(energy, ham.energy(spins), rtol=0, atol=1e-10)
            packed = pack_spins(spins.cuda(), _cuda)
            assert torch.equal(unpack_spins(packed, ham.num_sites, _cuda).cpu(), spins)
        check_chains(clusters=not options.racecheck)
        torch.cuda.synchronize()
    print(f"small run of {options.backend}: right")


if __name__ == "__main__":
    main()
