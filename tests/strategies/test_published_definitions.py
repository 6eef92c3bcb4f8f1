"""The field's strategies against their papers' formulas, written out by brute force in float64."""

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import softmax

import autoal
from autoal import Context, Outputs
from autoal.strategies import STRATEGIES, Picks, Strategy

bait, clustermargin, herding, linear_head, perturbation, pool_geometry, probcover, temperature, typiclust = (
    importlib.import_module(f"autoal.strategies.{name}")
    for name in (
        "bait",
        "clustermargin",
        "herding",
        "linear_head",
        "perturbation",
        "pool_geometry",
        "probcover",
        "temperature",
        "typiclust",
    )
)

N, D, C = 150, 4, 3


@pytest.fixture(scope="module")
def pool():
    """A mixture of C Gaussians under a linear head, and ten labels of each class."""
    rng = np.random.default_rng(0)
    y = rng.integers(C, size=N)
    x = (3 * rng.standard_normal((C, D))[y] + rng.standard_normal((N, D))).astype(np.float32)
    weight, bias = rng.standard_normal((D, C)), rng.standard_normal(C)
    labeled = np.concatenate([np.flatnonzero(y == c)[:10] for c in range(C)])
    return {
        "x": x,
        "y": y,
        "weight": weight,
        "bias": bias,
        "logits": (x @ weight + bias).astype(np.float32),
        "labeled": labeled,
        "unit": x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True),
    }


def context_of(pool, seed=0):
    return Context.of(
        Outputs(logits=pool["logits"], embeddings=pool["x"]), pool["labeled"], pool["y"][pool["labeled"]], seed=seed
    )


def ask(strategy, pool, size, seed=0):
    strategy = STRATEGIES[strategy]() if isinstance(strategy, str) else strategy
    return strategy.query(context_of(pool, seed), size)


def pairwise(a, b):
    return np.sqrt(np.square(a[:, None, :] - b[None, :, :]).sum(2))


def unlabeled_of(pool):
    return np.setdiff1d(np.arange(N), pool["labeled"])


def assigned(cluster):
    """What k-means would say if it found these clusters."""
    return SimpleNamespace(assignments=torch.from_numpy(np.asarray(cluster)))


class TestTypiClust:
    def test_most_typical_of_the_largest_clusters_without_a_label(self, monkeypatch):
        sizes = [40, 35, 30, 25, 20, 3]
        cluster = np.repeat(np.arange(6), sizes)
        rng = np.random.default_rng(1)
        x = rng.standard_normal((len(cluster), 4)).astype(np.float32)
        asked = []
        monkeypatch.setattr(typiclust, "kmeans", lambda points, k, seed: asked.append(k) or assigned(cluster))
        query = autoal.select(Outputs(embeddings=x), 5, "typiclust", labeled=[0])
        assert asked == [6], "one cluster per label, old and new"

        unit = x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
        want, scores = [], []
        for c in (1, 2, 3, 4, 0):  # the largest has a label, the smallest has too few members
            members = np.flatnonzero(cluster == c)
            near = np.sort(pairwise(unit[members], unit[members]), axis=1)[:, 1 : 1 + min(20, len(members) - 1)]
            typical = np.where(members == 0, -1, 1 / near.mean(1))
            want.append(members[typical.argmax()])
            scores.append(typical.max())
        assert query.indices.tolist() == want
        np.testing.assert_allclose(query.scores, scores, rtol=1e-4)
        assert query.provenance["cluster_size"].tolist() == [35, 30, 25, 20, 40]

    def test_clusters_are_at_most_500(self, monkeypatch):
        asked = []
        monkeypatch.setattr(typiclust, "kmeans", lambda p, k, seed: asked.append(k) or assigned(np.arange(len(p)) % k))
        x = np.random.default_rng(0).standard_normal((1200, 3)).astype(np.float32)
        query = autoal.select(Outputs(embeddings=x), 600, "typiclust", labeled=[7])
        assert asked == [500] and len(set(query.indices)) == 600

    def test_small_clusters_come_last(self, monkeypatch):
        monkeypatch.setattr(typiclust, "kmeans", lambda p, k, seed: assigned(np.repeat([0, 1, 2], [6, 4, 4])))
        x = np.random.default_rng(0).standard_normal((14, 3)).astype(np.float32)
        clusters = autoal.select(Outputs(embeddings=x), 14, "typiclust").provenance["cluster"]
        assert clusters.tolist() == [0] * 6 + [1, 2] * 4

    def test_copies_have_a_finite_typicality(self):
        assert typiclust.typicality(torch.ones(5, 2), 20).tolist() == [pytest.approx(1e6)] * 5
        assert typiclust.typicality(torch.ones(1, 2), 20).tolist() == [0]


class TestProbCover:
    @pytest.mark.parametrize("delta", [0.1, 0.3, 0.8])
    def test_greedy_maximum_degree(self, pool, delta):
        near = pairwise(pool["unit"], pool["unit"]) < delta
        uncovered = ~near[pool["labeled"]].any(0)
        free = unlabeled_of(pool)
        want, scores = [], []
        while uncovered.any() and len(want) < 25:
            degree = near[free][:, uncovered].sum(1)
            pick = free[degree.argmax()]
            want.append(pick)
            scores.append(degree.max())
            uncovered &= ~near[pick]
            free = free[free != pick]
        query = ask(probcover.ProbCover(delta), pool, 25)
        assert query.indices[: len(want)].tolist() == want
        assert query.scores.tolist() == scores + [0] * (25 - len(want))

    def test_radius_is_the_largest_with_pure_balls(self, pool, monkeypatch):
        cluster = np.random.default_rng(3).integers(3, size=N) * (pool["unit"][:, 0] > 0)
        monkeypatch.setattr(probcover, "kmeans", lambda points, k, seed: assigned(cluster))
        distance = pairwise(pool["unit"], pool["unit"])
        for purity in (0.95, 0.5):
            radius = probcover.pure_radius(torch.from_numpy(pool["unit"]).float(), C, purity)

            def pure(r):
                return np.mean([len(set(cluster[row < r])) <= 1 for row in distance])

            assert pure(radius * (1 - 1e-4)) >= purity > pure(radius * (1 + 1e-4))

    def test_a_cluster_per_class_and_one_radius_per_pool(self, pool, monkeypatch):
        asked = []
        kmeans = probcover.kmeans
        monkeypatch.setattr(probcover, "kmeans", lambda p, k, seed: asked.append(k) or kmeans(p, k, seed))
        strategy = probcover.ProbCover()
        first, second = (ask(strategy, pool, 5, seed) for seed in (0, 1))
        assert asked == [C]
        assert first.provenance["delta"][0] == second.provenance["delta"][0]

    def test_the_number_of_classes_must_be_known(self, pool):
        outputs = Outputs(embeddings=pool["x"])
        with pytest.raises(ValueError, match="give n_classes"):
            autoal.select(outputs, 5, "probcover")
        assert len(autoal.select(outputs, 5, "probcover", n_classes=3)) == 5
        for delta in (0.0, 1e-4, np.nan):
            with pytest.raises(ValueError, match="delta must be at least"):
                probcover.ProbCover(delta)

    def test_a_radius_per_number_of_classes(self, pool, monkeypatch):
        """Of a pool whose classes are only found one after the other, and ``n_classes`` is not given."""
        asked = []
        monkeypatch.setattr(probcover, "pure_radius", lambda unit, c, purity: asked.append(c) or c / 10)
        strategy = probcover.ProbCover()
        outputs = Outputs(embeddings=pool["x"])
        radii = [autoal.select(outputs, 3, strategy, n_classes=c).provenance["delta"][0] for c in (2, 2, 3)]
        assert asked == [2, 3]
        np.testing.assert_allclose(radii, [0.2, 0.2, 0.3])

    def test_without_a_radius_it_is_told(self, monkeypatch):
        with pytest.warns(UserWarning, match="one cluster: one pick covers all"):
            query = autoal.select(Outputs(embeddings=torch.ones(30, 3)), 4, "probcover", n_classes=3)
        assert query.scores.tolist() == [30, 0, 0, 0]
        # Copies that lie in two clusters: their squared distance may be rounded below 0.
        x = np.repeat(np.random.default_rng(0).standard_normal((10, 40)), 5, axis=0).astype(np.float32)
        monkeypatch.setattr(probcover, "kmeans", lambda points, k, seed: assigned(np.arange(50) % 2))
        with pytest.warns(UserWarning, match="only copies"):
            query = autoal.select(Outputs(embeddings=x), 12, "probcover", n_classes=2)
        assert query.scores.tolist() == [5] * 10 + [0] * 2
        np.testing.assert_allclose(query.provenance["delta"], 1e-3)

    def test_drawn_targets_cover_nearly_as_much(self, monkeypatch):
        rng = np.random.default_rng(0)
        x = (rng.standard_normal((30, 5))[rng.integers(30, size=3000)] + 0.2 * rng.standard_normal((3000, 5))).astype(
            "f4"
        )
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)

        def covered():
            picks = autoal.select(Outputs(embeddings=x), 15, probcover.ProbCover(0.3)).indices
            return (pairwise(unit, unit[picks]) < 0.3).any(1).mean()

        exact = covered()
        monkeypatch.setattr(probcover, "MOST_TARGETS", 500)
        assert covered() > 0.95 * exact


def herd(unit, weights, gamma, labeled, candidates, size):
    """max over candidates of mean_j w_j max(0, k(i, j) - max over labeled and picked of k(., j))."""
    kernel = np.exp(-gamma * np.square(pairwise(unit, unit)))
    reached = kernel[labeled].max(0)
    candidates, picks, gains = list(candidates), [], []
    for _ in range(size):
        gain = np.maximum(kernel[candidates] - reached, 0) @ weights
        picks.append(candidates.pop(int(gain.argmax())))
        gains.append(gain.max())
        reached = np.maximum(reached, kernel[picks[-1]])
    return picks, gains


class TestHerding:
    def test_maxherding(self, pool):
        want, gains = herd(pool["unit"], np.ones(N), 1.0, pool["labeled"], unlabeled_of(pool), 20)
        query = ask("maxherding", pool, 20)
        assert query.indices.tolist() == want
        np.testing.assert_allclose(query.scores, gains, rtol=1e-3)

    @pytest.mark.parametrize("scaled", [True, False])
    def test_uherding(self, pool, scaled):
        heat = temperature.calibrating_temperature(context_of(pool)) if scaled else 1.0
        p = np.sort(softmax(pool["logits"].astype(np.float64) / heat, axis=1), axis=1)
        among = pairwise(pool["unit"][pool["labeled"]], pool["unit"][pool["labeled"]])
        radius = among[np.triu_indices(len(among), 1)].min()
        weights = 1 - (p[:, -1] - p[:, -2])
        want, gains = herd(pool["unit"], weights, radius**-2, pool["labeled"], unlabeled_of(pool), 20)
        query = ask("uherding" if scaled else "uherding_raw", pool, 20)
        assert query.indices.tolist() == want
        np.testing.assert_allclose(query.scores, gains, rtol=1e-3)
        np.testing.assert_allclose(query.provenance["uncertainty"], weights[query.indices], atol=1e-5)

    def test_radius_leaves_out_copies(self):
        unit = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0.6, 0.8]])
        assert herding.labeled_radius(unit) == pytest.approx(np.sqrt(0.4), rel=1e-5)
        assert herding.labeled_radius(unit[:2]) == herding.labeled_radius(unit[:0]) == 1

    def test_of_many_labels_some_are_compared_to_all(self, pool, monkeypatch):
        unit = torch.from_numpy(pool["unit"][:50]).float()
        distance = pairwise(pool["unit"][:50], pool["unit"][:50]) + 9 * np.eye(50)
        assert herding.labeled_radius(unit) == pytest.approx(distance.min(), rel=1e-4)
        monkeypatch.setattr(herding, "MOST_LABELED", 20)
        monkeypatch.setattr(herding, "NUMBERS", 300)
        assert distance[::3].min() > distance.min()
        assert herding.labeled_radius(unit) == pytest.approx(distance[::3].min(), rel=1e-4)

    def test_rows_of_zeros_are_copies(self):
        unit = torch.zeros(3, 2)
        assert herding.labeled_radius(unit) == 1
        unit[2, 0] = 1
        assert herding.labeled_radius(unit) == 1, "the distance from the origin to the sphere"

    def test_most_of_the_pool_is_labeled(self, pool):
        labeled = np.setdiff1d(np.arange(N), np.arange(0, N, 10))
        want, gains = herd(pool["unit"], np.ones(N), 1.0, labeled, range(0, N, 10), 15)
        query = autoal.select(Outputs(embeddings=pool["x"]), 15, "maxherding", labeled=labeled)
        assert query.indices[:8].tolist() == want[:8]
        np.testing.assert_allclose(query.scores[:8], gains[:8], rtol=1e-3)

    def test_only_the_calibrated_form_needs_labels(self, pool):
        outputs = Outputs(logits=pool["logits"], embeddings=pool["x"])
        assert len(autoal.select(outputs, 5, "uherding_raw", labeled=pool["labeled"])) == 5
        assert len(autoal.select(outputs, 5, herding.UHerding(temperature=False))) == 5
        with pytest.raises(ValueError, match="needs labels"):
            autoal.select(outputs, 5, "uherding", labeled=pool["labeled"])


class TestTemperature:
    def test_calibration_error(self):
        rng = np.random.default_rng(0)
        logits, y = 3 * rng.standard_normal((400, 4)), rng.integers(4, size=400)
        p = softmax(logits, axis=1)
        want = 0.0
        for low in np.arange(15) / 15:
            inside = (p.max(1) >= low) & (p.max(1) < low + 1 / 15)
            if inside.any():
                want += inside.mean() * abs((p.argmax(1) == y)[inside].mean() - p.max(1)[inside].mean())
        assert temperature.calibration_error(logits, y) == pytest.approx(want)

    def test_overconfidence_is_cooled_by_its_factor(self, monkeypatch):
        rng = np.random.default_rng(0)
        logits = rng.standard_normal((20_000, 3))
        y = (rng.random(20_000)[:, None] > softmax(logits, axis=1).cumsum(1)).sum(1)
        monkeypatch.setattr(temperature, "held_out_logits", lambda context: (4 * logits, y))
        assert temperature.calibrating_temperature(Context(Outputs(torch.zeros(1, 2)), np.zeros(0))) == pytest.approx(
            4, 0.1
        )

    def test_predictions_are_held_out(self, pool):
        before = temperature.held_out_logits(context_of(pool))[0]
        changed = dict(pool, y=pool["y"].copy())
        changed["y"][pool["labeled"][4]] += 1 if pool["y"][pool["labeled"][4]] < C - 1 else -1
        after = temperature.held_out_logits(context_of(changed))[0]
        np.testing.assert_array_equal(before[4], after[4])
        assert (before != after).any()

    def test_one_label_tells_no_temperature(self, pool):
        assert temperature.calibrating_temperature(context_of(dict(pool, labeled=pool["labeled"][:1]))) == 1


def test_neighbor_disagreement(pool):
    x = pool["x"].astype(np.float64) - pool["x"].mean(0)
    x *= np.sqrt(128 / np.square(x).sum(1).mean())
    x = np.column_stack([x, np.ones(N)])
    cosine = x @ x.T / np.outer(np.linalg.norm(x, axis=1), np.linalg.norm(x, axis=1))
    np.fill_diagonal(cosine, -np.inf)
    p = softmax(pool["logits"].astype(np.float64), axis=1)
    want = np.array([1 - p[np.argsort(-cosine[i])[:10], p[i].argmax()].mean() for i in range(N)])
    query = ask("neighbor_disagreement", pool, 20)
    np.testing.assert_allclose(query.scores, want[query.indices], atol=1e-5)
    assert query.indices.tolist() == sorted(unlabeled_of(pool), key=lambda i: -want[i])[:20]


class TestClusterMargin:
    def test_clusters_are_those_of_average_linkage(self, pool):
        distance = pairwise(pool["x"].astype(np.float64), pool["x"].astype(np.float64))
        clusters = [[i] for i in range(N)]
        while len(clusters) > N / 10:
            mean = {
                (a, b): distance[np.ix_(clusters[a], clusters[b])].mean()
                for b in range(len(clusters))
                for a in range(b)
            }
            a, b = min(mean, key=mean.get)
            clusters[a] += clusters.pop(b)
        found = clustermargin.average_linkage_clusters(torch.from_numpy(pool["x"]), 10)
        assert {frozenset(np.flatnonzero(found == c)) for c in set(found)} == set(map(frozenset, clusters))

    def test_smallest_margins_in_turn_from_the_smallest_cluster_on(self, pool, monkeypatch):
        cluster = np.random.default_rng(0).choice(5, N, p=[0.4, 0.3, 0.2, 0.07, 0.03])
        monkeypatch.setattr(clustermargin, "average_linkage_clusters", lambda x, size: cluster)
        p = np.sort(softmax(pool["logits"], axis=1), axis=1)
        free = unlabeled_of(pool)
        shortlist = free[np.argsort(p[free, -1] - p[free, -2], kind="stable")[:80]]
        population = np.bincount(cluster[shortlist], minlength=5)
        assert len(set(population)) == 5 and population.min() > 0
        left, turn = population.copy(), []
        while len(turn) < 8:
            for c in np.argsort(population):
                turn += [c] * int(left[c] > 0)
                left[c] -= left[c] > 0
        queries = [ask("clustermargin", pool, 8, seed) for seed in range(40)]
        for query in queries:
            assert cluster[query.indices].tolist() == turn[:8]
            assert set(query.indices) <= set(shortlist)
        largest = shortlist[cluster[shortlist] == np.argmax(population)]
        assert len({i for query in queries for i in query.indices} & set(largest)) > 5, "a cluster's turn is random"

    def test_large_pools_are_divided(self, pool, monkeypatch):
        monkeypatch.setattr(clustermargin, "MOST_ROWS", 30)
        parts = clustermargin._halved(torch.from_numpy(pool["x"]), np.arange(N))
        assert sorted(np.concatenate(parts)) == list(range(N)) and {len(part) for part in parts} == {18, 19}
        found = clustermargin.average_linkage_clusters(torch.from_numpy(pool["x"]), 10)
        assert len(set(found)) == 15
        assert all(
            len({tuple(part) for part in parts if set(part) & set(np.flatnonzero(found == c))}) == 1 for c in found
        )

    @pytest.mark.parametrize("scale", [1e-22, 1e18])
    def test_large_pools_are_divided_in_any_unit(self, pool, monkeypatch, scale):
        """Squares of these float32 does not hold."""
        monkeypatch.setattr(clustermargin, "MOST_ROWS", N // 2)
        halves = [clustermargin._halved(torch.from_numpy(pool["x"] * np.float32(s)), np.arange(N)) for s in (1, scale)]
        assert {tuple(part) for part in halves[0]} == {tuple(part) for part in halves[1]}

    def test_the_hierarchy_is_built_once(self, pool, monkeypatch):
        calls = []
        original = clustermargin.average_linkage_clusters
        monkeypatch.setattr(clustermargin, "average_linkage_clusters", lambda *a: calls.append(1) or original(*a))
        strategy = clustermargin.ClusterMargin()
        for seed in range(3):
            ask(strategy, pool, 5, seed)
        assert len(calls) == 1


class TestPoolGeometry:
    def test_rows_of_length_one(self, pool, monkeypatch):
        monkeypatch.setattr(pool_geometry, "CHUNK", 40)
        for scale in (1, 1e-30, 1e-13, 1e15):
            x = torch.from_numpy(pool["x"] * np.float32(scale))
            x[3] = 0
            want = pool["unit"].copy()
            want[3] = 0
            np.testing.assert_allclose(pool_geometry.unit(x).numpy(), want, atol=1e-6)
        half = pool_geometry.unit(torch.from_numpy(pool["x"]).half())
        assert half.dtype == torch.float32
        np.testing.assert_allclose(half.numpy(), pool["unit"], atol=2e-3)

    def test_once_per_pool(self):
        results = iter(range(10))
        keep = pool_geometry.OncePerPool()
        x = torch.zeros(5, 2)
        assert [keep(x, lambda: next(results)) for _ in range(2)] == [0, 0]
        assert keep(x[:3], lambda: next(results)) == 1, "a smaller pool is another"
        assert keep(x.clone(), lambda: next(results)) == 0, "and does not push out the larger"
        x[1, 1] = 3
        assert keep(x, lambda: next(results)) == 2, "the same array with other numbers"
        assert keep(torch.zeros(6, 2, dtype=torch.bfloat16), lambda: next(results)) == 3
        assert [keep(torch.zeros(6, 2), lambda: next(results), key=key) for key in (1, 1, 2)] == [4, 4, 5]


class TestPerturbation:
    def test_head_is_found_again(self, pool):
        shifted = dict(pool, logits=pool["logits"] + np.random.default_rng(0).standard_normal((N, 1)).astype("f4"))
        head = linear_head.linear_head(context_of(shifted))
        np.testing.assert_allclose(
            softmax(head(torch.from_numpy(pool["x"])).numpy(), axis=1), softmax(pool["logits"], axis=1), atol=1e-5
        )

    @pytest.mark.parametrize("scale, offset", [(1e-20, 0), (1e15, 0), (1, 1000)])
    def test_head_is_found_again_whatever_the_unit(self, pool, scale, offset):
        x = (scale * (pool["x"].astype(np.float64) + offset)).astype(np.float32)
        x = np.column_stack([x, np.full(N, scale)]).astype(np.float32)  # and a column that says nothing
        head = linear_head.linear_head(context_of(dict(pool, x=x)))
        logits = x.astype(np.float64) @ head.weight.double().numpy() + head.bias.double().numpy()
        np.testing.assert_allclose(softmax(logits, axis=1), softmax(pool["logits"], axis=1), atol=2e-3)

    def test_alfamix_does_not_depend_on_the_unit(self, pool):
        want = perturbation.flipping_epsilon(context_of(pool))
        for scale in (1e-20, 1e15):
            scaled = dict(pool, x=pool["x"] * np.float32(scale))
            np.testing.assert_allclose(perturbation.flipping_epsilon(context_of(scaled)), want, rtol=1e-3)

    def test_a_head_that_is_not_linear_is_told(self, pool):
        bent = dict(pool, logits=np.tanh(pool["logits"]) + np.square(pool["x"][:, :C]))
        with pytest.warns(UserWarning, match="not linear"):
            linear_head.linear_head(context_of(bent))
        with pytest.raises(ValueError, match="logits holds NaN or Inf"):
            linear_head.linear_head(context_of(dict(pool, logits=np.full((N, C), -np.inf, np.float32))))

    def test_alfamix_flips_at_its_epsilon_and_not_before(self, pool):
        x, weight, bias = pool["x"].astype(np.float64), pool["weight"], pool["bias"]
        y = pool["y"][pool["labeled"]]
        anchors = [x[pool["labeled"][y == c]].mean(0) for c in range(C)]
        p = softmax(x @ weight + bias, axis=1)
        predicted = p.argmax(1)
        gradient = (p - np.eye(C)[predicted]) @ weight.T

        def flips(i, epsilon):
            for anchor in anchors:
                alpha = (
                    epsilon
                    * np.linalg.norm(anchor - x[i])
                    * gradient[i]
                    / np.linalg.norm(gradient[i])
                    / (anchor - x[i])
                )
                mixed = alpha * anchor + (1 - alpha) * x[i]
                if (mixed @ weight + bias).argmax() != predicted[i]:
                    return True
            return False

        epsilon = perturbation.flipping_epsilon(context_of(pool))
        assert np.isfinite(epsilon).mean() > 0.9
        for i in range(N):
            if np.isfinite(epsilon[i]):
                assert flips(i, 1.001 * epsilon[i]) and not flips(i, 0.999 * epsilon[i])
            else:
                assert not flips(i, 1e6)

    def test_alfamix_clusters_the_directions_of_what_flips(self, pool, monkeypatch):
        epsilon = perturbation.flipping_epsilon(context_of(pool))
        free = unlabeled_of(pool)
        shown = []
        monkeypatch.setattr(perturbation, "representatives", lambda p, k, seed: (shown.append(p) or np.arange(k), None))
        candidates = free[epsilon[free] < 0.2 / np.sqrt(D)]
        assert 5 < len(candidates) < len(free) - 5
        query = ask("alfamix", pool, 5)
        np.testing.assert_allclose(shown[0], pool["unit"][candidates], atol=1e-6)
        np.testing.assert_allclose(query.scores, 1 / (1 + epsilon[query.indices]), rtol=1e-5)
        more = len(candidates) + 5
        assert set(ask("alfamix", pool, more).indices) == set(free[np.argsort(epsilon[free])[:more]])

    def test_dropquery_counts_changed_classes(self, pool):
        passes = 4000
        changes, margin = perturbation.dropout_changes(context_of(pool), passes, 0.75)
        rng = np.random.default_rng(1)
        x, plain = pool["x"].astype(np.float64), (pool["x"] @ pool["weight"] + pool["bias"]).argmax(1)
        want = np.zeros(N)
        for _ in range(passes):
            kept = rng.random(x.shape) >= 0.75
            want += ((x * kept / 0.25) @ pool["weight"] + pool["bias"]).argmax(1) != plain
        assert np.abs(changes - want).max() / passes < 0.05, "4.5 standard deviations"
        p = np.sort(softmax(pool["logits"], axis=1), axis=1)
        np.testing.assert_allclose(margin, p[:, -1] - p[:, -2], atol=1e-5)
        assert not perturbation.dropout_changes(context_of(pool), 3, 0.0)[0].any()

    def test_dropquery_clusters_what_most_passes_change(self, pool, monkeypatch):
        context = context_of(pool)
        changes, margin = (part[context.unlabeled] for part in perturbation.dropout_changes(context, 3, 0.75))
        candidates = context.unlabeled[changes >= 2]
        assert 10 < len(candidates) < len(changes) - 10
        shown = []
        monkeypatch.setattr(perturbation, "representatives", lambda p, k, seed: (shown.append(p) or np.arange(k), None))
        ask("dropquery", pool, 10)
        np.testing.assert_array_equal(shown[0], pool["x"][candidates])
        more = len(candidates) + 5
        best = context.unlabeled[np.lexsort((margin, -changes))[:more]]
        assert set(ask("dropquery", pool, more).indices) == set(best)

    def test_representatives_are_nearest_to_their_centroids(self):
        from autoal.strategies.clustering import representatives

        rng = np.random.default_rng(0)
        centers = 50 * np.eye(3)
        x = np.concatenate([c + rng.standard_normal((20 * (i + 1), 3)) for i, c in enumerate(centers)]).astype("f4")
        groups = [np.arange(20), np.arange(20, 60), np.arange(60, 120)]
        want = [g[np.linalg.norm(x[g] - x[g].mean(0), axis=1).argmin()] for g in groups[::-1]]
        rows, population = representatives(torch.from_numpy(x), 3, 0)
        assert rows.tolist() == want and population.tolist() == [60, 40, 20]


class TestBait:
    @pytest.mark.parametrize("fisher", ["full", "binary"])
    def test_forward_then_backward(self, pool, fisher):
        x = pool["x"].astype(np.float64)
        p = softmax(pool["logits"].astype(np.float64), axis=1)
        size = {"full": 6, "binary": 9}[fisher]
        if fisher == "full":
            each = np.array([np.kron(np.outer(a, a), np.diag(q) - np.outer(q, q)) for a, q in zip(x, p, strict=True)])
        else:
            each = np.array([q.max() * (1 - q.max()) * np.outer(a, a) for a, q in zip(x, p, strict=True)])
        target, total = each.mean(0), np.eye(each.shape[1]) + each[pool["labeled"]].sum(0)

        def trace(matrix):
            return np.trace(np.linalg.solve(matrix, target))

        chosen, gains = [], []
        for _ in range(2 * size):
            left = {i: trace(total + each[i]) for i in unlabeled_of(pool) if i not in chosen}
            pick = min(left, key=left.get)
            gains.append(trace(total) - left[pick])
            total = total + each[pick]
            chosen.append(pick)
        kept = list(chosen)
        while len(kept) > size:
            drop = min(kept, key=lambda i: trace(total - each[i]))
            total = total - each[drop]
            kept.remove(drop)
        assert kept != chosen[:size], "or the backward steps would not be tested"
        query = ask(bait.Bait(fisher), pool, size)
        assert query.indices.tolist() == kept
        np.testing.assert_allclose(query.scores, [gains[chosen.index(i)] for i in kept], rtol=1e-3)

    @pytest.mark.parametrize("fisher", ["full", "binary"])
    def test_in_another_unit_with_another_ridge_it_is_the_same(self, pool, fisher):
        want = ask(bait.Bait(fisher), pool, 8)
        for scale in (1e-6, 1e6):
            query = ask(bait.Bait(fisher, ridge=scale**2), dict(pool, x=pool["x"] * np.float32(scale)), 8)
            assert query.indices.tolist() == want.indices.tolist()

    def test_information_is_summed_in_parts(self, pool, monkeypatch):
        embeddings, logits = torch.from_numpy(pool["x"]), torch.from_numpy(pool["logits"])
        whole = bait.information(embeddings, logits, bait.full_factors)
        monkeypatch.setattr(bait, "NUMBERS", 100)
        torch.testing.assert_close(bait.information(embeddings, logits, bait.full_factors), whole)

    def test_the_form_follows_the_number_of_parameters(self, pool, monkeypatch):
        full, binary = ask(bait.Bait("full"), pool, 10), ask(bait.Bait("binary"), pool, 10)
        assert full.indices.tolist() != binary.indices.tolist()
        assert ask("bait", pool, 10).indices.tolist() == full.indices.tolist()
        for name, most in {"FULL_UP_TO": D * C - 1, "NUMBERS": (N - 30) * C**2 - 1}.items():
            with monkeypatch.context() as patch:
                patch.setattr(bait, name, most)
                assert ask("bait", pool, 10).indices.tolist() == binary.indices.tolist()

    def test_the_full_form_draws_candidates(self, pool, monkeypatch):
        monkeypatch.setattr(bait, "FULL_CANDIDATES", 20)
        picked = {i for seed in range(10) for i in ask("bait", pool, 5, seed).indices}
        assert len(picked) > 5, "others at other seeds"
        assert len(ask("bait", pool, N - 30)) == N - 30

    def test_options_are_checked(self):
        with pytest.raises(ValueError, match="Did you mean 'binary'"):
            bait.Bait("binar")
        with pytest.raises(ValueError, match="ridge must be above 0"):
            bait.Bait(ridge=0)


class First(Strategy):
    """Picks the lowest indices it is shown, and remembers what that was."""

    name = "first"
    needs = ("logits", "embeddings")

    def __init__(self):
        self.shown = []

    def pick(self, context, size):
        assert context.outputs.logits.shape[0] == len(context)
        self.shown.append(context.outputs.embeddings[context.unlabeled].numpy())
        return Picks(context.unlabeled[:size], np.zeros(size))


class TestRefine:
    def test_unions_of_picks_from_subsamples_then_uherding(self, pool):
        first = First()
        size, batches = 4, 6
        query = ask(STRATEGIES["refine"]((first,), rounds=3, share=0.5, batches=batches), pool, size)
        row = {tuple(x): i for i, x in enumerate(pool["x"])}
        shown = [[row[tuple(x)] for x in rows] for rows in first.shown]
        assert len(shown) == 3 * batches
        current = unlabeled_of(pool)
        for part in (shown[:batches], shown[batches : 2 * batches], shown[2 * batches :]):
            union = set()
            for rows in part:
                assert len(rows) == max(size, int(0.5 * len(current))) and set(rows) <= set(current)
                union |= set(sorted(rows)[:size])
            assert len({tuple(rows) for rows in part}) > 1
            current = np.array(sorted(union))
        assert len(current) > size

        heat = temperature.calibrating_temperature(context_of(pool))
        p = np.sort(softmax(pool["logits"].astype(np.float64) / heat, axis=1), axis=1)
        known = np.concatenate([pool["labeled"], current])
        among = pairwise(pool["unit"][pool["labeled"]], pool["unit"][pool["labeled"]])
        radius = among[np.triu_indices(len(among), 1)].min()
        weights = (1 - (p[:, -1] - p[:, -2]))[known]
        labeled = np.arange(len(pool["labeled"]))
        want = herd(pool["unit"][known], weights, radius**-2, labeled, range(len(labeled), len(known)), size)[0]
        assert query.indices.tolist() == known[want].tolist()
        held = [sum(i in sorted(rows)[:size] for rows in shown[2 * batches :]) for i in query.indices]
        assert query.provenance["batches"].tolist() == held

    def test_without_rounds_it_is_uherding(self, pool):
        assert (
            ask(STRATEGIES["refine"](rounds=0), pool, 10).indices.tolist() == ask("uherding", pool, 10).indices.tolist()
        )

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"strategies": ()}, "at least one"),
            ({"strategies": ("margin", "margin")}, "different"),
            ({"strategies": ("refine",)}, "not 'refine' itself"),
            ({"strategies": ("margn",)}, "Did you mean 'margin'"),
            ({"share": 0}, "share must be"),
            ({"batches": 8}, "batches must be at least 9"),
        ],
    )
    def test_options_are_checked(self, options, message):
        with pytest.raises(ValueError, match=message):
            STRATEGIES["refine"](**options)
