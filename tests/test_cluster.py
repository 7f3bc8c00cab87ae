"""On a cluster of processes the numbers are the same."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import Layout, build

from xinverse.tiling import plan

SHAPE = (6, 10, 14)
OPTIONS = {
    "tile": plan(SHAPE, (3, 5, 7), (1, 2, 3)),
    "length_scale": 60,
    "time_scale": 2,
    "background": 0.0,
    "error": True,
    "members": 1,
}


@pytest.mark.slow
def test_two_workers_give_the_numbers_of_the_eager_way(tmp_path):
    distributed = pytest.importorskip("distributed")
    data = build(Layout(shape=SHAPE))
    mask = np.ones(SHAPE[1:], bool)
    mask[:2, :3] = False
    expected = data.inverse.interpolate(mask=mask, **OPTIONS)
    lazy = data.chunk({"time": 2, "lat": 4, "lon": 5})
    cluster = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        local_directory=tmp_path,
    )
    with cluster, distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        result = lazy.inverse.interpolate(mask=mask, **OPTIONS).compute()
        workers = client.run(lambda: __import__("os").getpid())
    assert len(set(workers.values())) == 2
    for name, one in expected.items():
        np.testing.assert_array_equal(result[name].isnull(), one.isnull())
        assert float(abs(result[name] - one).max()) <= 1e-5 * float(one.std())
