"""IVF and HNSW against hnswlib and faiss: the same distances, and no neighbour fewer for the same parameters.

What hnswlib's own tests ask of it (recall, deletes, replaced deletes, filters) is asked of ours on the same data; where
hnswlib raises, such as for fewer than k, ours answers.
"""

import numpy as np
import pytest

from minillm.search import HNSWIndex, IVFIndex, count_distances
from minillm.search.exact import METRICS
from tests.search.ann.helpers import clusters, exact, recall

SPACES = {"l2": "l2", "cosine": "cosine", "ip": "ip"}


def uniform(count, dim, seed=0):
    return np.random.default_rng(seed).random((count, dim), np.float32)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("make", "dim"), [(uniform, 16), (clusters, 32)])
def test_hnsw_finds_what_hnswlib_finds(metric, make, dim):
    hnswlib = pytest.importorskip("hnswlib", reason="held against hnswlib")
    vectors, queries = make(4000, dim), make(200, dim, seed=1)
    truth = exact(vectors, metric).search(queries, 10)[0]
    peer = hnswlib.Index(SPACES[metric], dim)
    peer.init_index(4000, M=16, ef_construction=100)
    peer.add_items(vectors, num_threads=1)
    ours = HNSWIndex(dim, metric, m=16, ef_construction=100)
    ours.add(vectors)
    for ef in (10, 30, 100):
        peer.set_ef(ef)
        labels, far = peer.knn_query(queries, 10, num_threads=1)
        found, distances = ours.search(queries, 10, ef_search=ef)
        assert recall(found, truth) >= recall(labels.astype(np.int64), truth) - 0.01
    same = found == labels.astype(np.int64)
    assert same.mean() > 0.9
    np.testing.assert_allclose(distances[same], far[same], rtol=1e-4, atol=1e-5)


def test_deleted_elements_as_hnswlib_tests_them():
    hnswlib = pytest.importorskip("hnswlib", reason="held against hnswlib")
    vectors = uniform(4000, 16)
    first, second, third = vectors[:1300], vectors[1300:2600], vectors[2600:3900]
    peer = hnswlib.Index("l2", 16)
    peer.init_index(2600, M=16, ef_construction=100, allow_replace_deleted=True)
    ours = HNSWIndex(16, ef_construction=100)
    for vectors, ids in ((first, np.arange(1300)), (second, np.arange(1300, 2600))):
        peer.add_items(vectors, ids, num_threads=1)
        ours.add(vectors, ids)
    for label in range(1300, 2600):
        peer.mark_deleted(label)
    ours.remove(range(1300, 2600))
    peer.add_items(third, np.arange(2600, 3900), num_threads=1, replace_deleted=True)
    ours.add(third, np.arange(2600, 3900))
    peer.set_ef(100)
    for vectors, ids in ((first, np.arange(1300)), (third, np.arange(2600, 3900))):
        hits = (peer.knn_query(vectors, 1, num_threads=1)[0][:, 0] == ids).mean()
        mine = (ours.search(vectors, 1, ef_search=100)[0][:, 0] == ids).mean()
        assert mine >= max(hits - 0.005, 0.99)
    gone = ours.search(second, 5)[0]
    assert not ((gone >= 1300) & (gone < 2600)).any()
    assert ours._slots.size <= 2600


def test_fewer_than_k_are_an_answer():
    hnswlib = pytest.importorskip("hnswlib", reason="held against hnswlib")
    peer, ours, vectors = hnswlib.Index("l2", 4), HNSWIndex(4), uniform(5, 4)
    peer.init_index(10)
    peer.add_items(vectors)
    ours.add(vectors)
    with pytest.raises(RuntimeError):
        peer.knn_query(vectors, 6)
    assert (ours.search(vectors, 6)[0][:, 5] == -1).all()


def test_filters_find_what_hnswlib_finds():
    hnswlib = pytest.importorskip("hnswlib", reason="held against hnswlib")
    vectors, queries = uniform(3000, 16), uniform(50, 16, seed=1)
    peer, ours = hnswlib.Index("l2", 16), HNSWIndex(16)
    peer.init_index(3000, M=16, ef_construction=200)
    peer.add_items(vectors, num_threads=1)
    peer.set_ef(100)
    ours.add(vectors)
    for step in (2, 20):
        truth = exact(vectors).search(queries, 5, filter=lambda i, step=step: i % step == 0)[0]
        labels = peer.knn_query(queries, 5, num_threads=1, filter=lambda i, step=step: i % step == 0)[0]
        found = ours.search(queries, 5, ef_search=100, filter=lambda i, step=step: i % step == 0)[0]
        assert recall(found, truth) >= recall(labels.astype(np.int64), truth) - 0.005


@pytest.mark.parametrize("codes", [None, "uint8"])
def test_ivf_finds_what_faiss_finds(codes):
    faiss = pytest.importorskip("faiss", reason="held against faiss")
    faiss.omp_set_num_threads(1)
    vectors, queries = clusters(8000, 32, centres=100), clusters(200, 32, seed=1, centres=100)
    truth = exact(vectors).search(queries, 10)[0]
    ours = IVFIndex(32, n_lists=64, codes=codes)
    ours.add(vectors)
    peer = faiss.IndexIVFFlat(faiss.IndexFlatL2(32), 32, 64)
    peer.train(vectors)
    peer.add(vectors)
    for probes in (2, 4, 8, 16):
        peer.nprobe = probes
        theirs = recall(peer.search(queries, 10)[1], truth)
        assert recall(ours.search(queries, 10, n_probe=probes)[0], truth) >= theirs - 0.02
    found, distances = ours.search(queries, 10, n_probe=64)
    peer.nprobe = 64
    far, labels = peer.search(queries, 10)
    same = found == labels
    assert same.mean() > 0.99
    np.testing.assert_allclose(distances[same], far[same], rtol=1e-4, atol=1e-4)


def test_codes_find_what_faiss_codes_find():
    faiss = pytest.importorskip("faiss", reason="held against faiss")
    faiss.omp_set_num_threads(1)
    vectors, queries = clusters(4000, 32, centres=50), clusters(200, 32, seed=1, centres=50)
    truth = exact(vectors).search(queries, 10)[0]
    base = faiss.IndexHNSWSQ(32, faiss.ScalarQuantizer.QT_8bit, 16)
    base.hnsw.efConstruction = 200
    peer = faiss.IndexRefineFlat(base)
    peer.train(vectors)
    peer.add(vectors)
    peer.k_factor = 4
    base.hnsw.efSearch = 64
    ours = HNSWIndex(32, codes="uint8")
    ours.add(vectors)
    theirs = recall(peer.search(queries, 10)[1], truth)
    assert recall(ours.search(queries, 10, ef_search=64)[0], truth) >= theirs - 0.005


def test_distances_are_counted_as_faiss_counts_them():
    faiss = pytest.importorskip("faiss", reason="held against faiss")
    faiss.omp_set_num_threads(1)
    vectors, queries = uniform(3000, 16), uniform(100, 16, seed=1)
    ours, peer = HNSWIndex(16, m=16, ef_construction=100), faiss.IndexHNSWFlat(16, 16)
    peer.hnsw.efConstruction = 100
    ours.add(vectors)
    peer.add(vectors)
    for ef in (20, 80, 160):  # two graphs of the same kind, not the same graph
        peer.hnsw.efSearch = ef
        faiss.cvar.hnsw_stats.reset()
        peer.search(queries, 10)
        theirs = faiss.cvar.hnsw_stats.ndis / len(queries)
        mine = count_distances(ours, queries, 10, ef).mean()
        assert 0.7 < mine / theirs < 1.4
