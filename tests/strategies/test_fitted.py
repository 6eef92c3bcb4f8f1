"""Strategies that fit something on the embeddings or average MC samples, against definitions written anew."""

import numpy as np
import pytest
import torch
from regression import prepared, regression
from scipy.special import logsumexp, softmax
from scipy.stats import entropy, multivariate_normal

import autoal
from autoal import Context, Outputs
from autoal.strategies import ceal as ceal_module
from autoal.strategies import ddu as ddu_module
from autoal.strategies import dropout, learning_loss, vaal
from autoal.strategies.ceal import Ceal
from autoal.strategies.ensemble import EnsembleVariationRatio

N, C, D = 150, 3, 4


@pytest.fixture(scope="module")
def blobs():
    """Embeddings [N, D] in three clusters, their classes, and 30 labeled rows."""
    rng = np.random.default_rng(0)
    y = rng.integers(C, size=N)
    x = (2.5 * rng.standard_normal((C, D)))[y] + rng.standard_normal((N, D))
    return x.astype(np.float32), y, rng.choice(N, 30, replace=False)


def context_of(blobs, seed=0, **outputs):
    x, y, labeled = blobs
    return Context.of(Outputs(embeddings=x, **outputs), labeled, y[labeled], n_classes=C, seed=seed)


@pytest.fixture
def mc():
    return (2 * np.random.default_rng(0).standard_normal((7, 60, C))).astype(np.float32)


class TestDropout:
    def test_scores_are_those_of_the_mean_prediction(self, mc, monkeypatch):
        monkeypatch.setattr(dropout, "NUMBERS", 100)  # several parts
        pbar = softmax(mc.astype(np.float64), axis=2).mean(axis=0)
        ordered = np.sort(pbar, axis=1)
        want = {
            "least_confidence_dropout": 1 - ordered[:, -1],
            "margin_dropout": 1 - (ordered[:, -1] - ordered[:, -2]),
            "entropy_dropout": entropy(pbar, axis=1),
        }
        for name, scores in want.items():
            query = autoal.select(Outputs(mc_logits=mc), 60, name)
            np.testing.assert_allclose(query.scores, scores[query.indices], atol=2e-6)
            assert (np.diff(query.scores) <= 0).all()

    def test_faulty_samples_are_named(self, mc):
        broken = mc.copy()
        broken[2, 5, 1] = np.nan
        for name in ("margin_dropout", "bald", "batchbald"):
            with pytest.raises(ValueError, match=r"mc_logits holds NaN.* in row 5"):
                autoal.select(Outputs(mc_logits=broken), 3, name)


class TestEnsemble:
    def test_heads_of_bootstrap_samples_vote(self, blobs):
        _, y, labeled = blobs
        x = (blobs[0] + 2 * np.random.default_rng(1).standard_normal((N, D))).astype(np.float32)
        context, features = context_of((x, y, labeled), seed=3), prepared(x)
        rng = context.generator("ensemble_variation_ratio")
        votes = np.zeros((N, C), int)
        for _ in range(4):
            drawn = labeled[rng.integers(30, size=30)]
            votes[np.arange(N), (features @ regression(features[drawn], y[drawn], C)).argmax(axis=1)] += 1
        got = EnsembleVariationRatio(members=4).score(context).numpy()
        differ = np.flatnonzero(~np.isclose(got, 1 - votes.max(axis=1) / 4))
        assert len(differ) <= 1, "a vote within the fit's tolerance"
        assert len(np.unique(got)) > 1

    def test_members_that_are_given_vote_and_none_is_fitted(self):
        votes = np.array([[0, 0, 0, 0], [0, 1, 0, 0], [2, 1, 0, 0], [1, 1, 2, 2]])  # [N, members]
        members = np.eye(3, dtype=np.float32)[votes].transpose(1, 0, 2)
        strategy = EnsembleVariationRatio(given=True)
        assert strategy.needs == ("mc_logits",)
        query = autoal.select(Outputs(mc_logits=members), 4, strategy)
        assert query.indices.tolist() == [2, 3, 1, 0]
        assert query.scores.tolist() == [0.5, 0.5, 0.25, 0]
        with pytest.raises(ValueError, match="needs embeddings"):
            autoal.select(Outputs(mc_logits=members), 4, "ensemble_variation_ratio")


class TestCeal:
    @pytest.mark.parametrize("measure", ["entropy", "margin", "least_confidence"])
    def test_scores_come_from_a_classifier_of_labels_and_pseudo_labels(self, blobs, measure):
        x, y, labeled = blobs
        features, unlabeled = prepared(x), np.setdiff1d(np.arange(N), labeled)
        p = softmax(features @ regression(features[labeled], y[labeled], C), axis=1)
        sure = unlabeled[entropy(p[unlabeled], axis=1) < 0.2]
        assert 5 < len(sure) < 100
        rows = np.concatenate([labeled, sure])
        taught = np.concatenate([y[labeled], p[sure].argmax(axis=1)])
        p = softmax(features @ regression(features[rows], taught, C), axis=1)
        ordered = np.sort(p, axis=1)
        want = {"entropy": entropy(p, axis=1), "least_confidence": 1 - ordered[:, -1]}
        want["margin"] = want["least_confidence"] + ordered[:, -2]
        strategy = Ceal(measure, threshold=0.2)
        np.testing.assert_allclose(strategy.score(context_of(blobs)).numpy(), want[measure], atol=2e-3)
        np.testing.assert_array_equal(strategy.pseudo_labels[0], sure)
        np.testing.assert_array_equal(strategy.pseudo_labels[1], taught[len(labeled) :])

    def test_without_confident_predictions_it_is_the_measure(self, blobs):
        features = prepared(blobs[0])
        labeled = blobs[2]
        p = softmax(features @ regression(features[labeled], blobs[1][labeled], C), axis=1)
        strategy = Ceal(threshold=0)
        np.testing.assert_allclose(strategy.score(context_of(blobs)).numpy(), entropy(p, axis=1), atol=2e-3)
        assert not len(strategy.pseudo_labels[0])

    def test_the_threshold_falls_round_by_round(self, blobs):
        x, y, labeled = blobs
        strategy, counts = Ceal(threshold=0.3, decay=0.1), []
        for n in (26, 27, 27, 28, 29, 30):
            context = Context.of(Outputs(embeddings=x), labeled[:n], y[labeled[:n]], n_classes=C)
            strategy.query(context, 3)
            counts.append(len(strategy.pseudo_labels[0]))
        assert counts[1] == counts[2] > 0, "asked again, the threshold stays"
        assert counts[0] >= counts[1] > counts[3] and counts[-1] == 0

    @pytest.mark.parametrize("threshold, decay", [(-1, 0), (np.nan, 0), (0, -1), (0, np.nan)])
    def test_options_are_checked(self, threshold, decay):
        with pytest.raises(ValueError, match="threshold and decay"):
            Ceal(threshold=threshold, decay=decay)

    def test_the_most_confident_are_kept_where_there_are_too_many(self, monkeypatch):
        monkeypatch.setattr(ceal_module, "MOST_PSEUDO_LABELS", 2)
        p = torch.tensor([[0.9, 0.1], [0.01, 0.99], [0.6, 0.4], [1.0, 0.0]])
        rows, classes = ceal_module.confident(p, 0.5)
        assert rows.tolist() == [1, 3] and classes.tolist() == [1, 0]


class TestDdu:
    @pytest.mark.parametrize("width, labels", [(4, 30), (40, 30), (4, 4), (3, 140)])
    def test_scores_are_minus_the_log_of_a_mixture_of_gaussians(self, width, labels):
        rng = np.random.default_rng(1)
        y = rng.integers(C, size=N)
        x = (rng.standard_normal((C, width))[y] + rng.standard_normal((N, width)) / np.arange(1, width + 1)).astype("f")
        labeled = rng.choice(N, labels, replace=False)
        z = prepared(x)[:, :-1]
        variance = np.square(z).mean()
        log_q = []
        for c in np.unique(y[labeled]):
            own = z[labeled][y[labeled] == c]
            centered = own - own.mean(axis=0)
            covariance = (centered.T @ centered + variance * np.eye(width)) / (len(own) + 1)
            log_q.append(np.log(len(own) / labels) + multivariate_normal(own.mean(axis=0), covariance).logpdf(z))
        query = autoal.select(Outputs(embeddings=x), N - labels, "ddu", labeled=labeled, labels=y[labeled])
        want = -logsumexp(log_q, axis=0)
        np.testing.assert_allclose(query.scores, want[query.indices], rtol=2e-5)
        assert (np.diff(want[query.indices]) < 1e-2).all()

    def test_a_region_without_labels_is_asked_first(self, blobs):
        x, y, labeled = blobs
        seen = labeled[y[labeled] != 2]
        query = autoal.select(Outputs(embeddings=x), 20, "ddu", labeled=seen, labels=y[seen], n_classes=C)
        assert (y[query.indices] == 2).mean() > 0.8

    def test_rows_in_parts_are_the_same(self, blobs, monkeypatch):
        whole = ddu_module.Ddu().score(context_of(blobs))
        assert whole[torch.from_numpy(blobs[2])].tolist() == [-np.inf] * 30, "what is labeled is not scored"
        monkeypatch.setattr(ddu_module, "NUMBERS", 200)
        np.testing.assert_allclose(ddu_module.Ddu().score(context_of(blobs)).numpy(), whole.numpy(), rtol=1e-5)


class TestLearningLoss:
    def test_the_module_ranks_by_the_loss_of_the_classifier(self, blobs):
        """Where labels are noise the loss is high: two clusters of one class each, and one with random labels."""
        rng = np.random.default_rng(0)
        cluster = rng.integers(3, size=600)
        x = ((4 * np.eye(3, 8))[cluster] + rng.standard_normal((600, 8))).astype(np.float32)
        y = np.where(cluster == 2, rng.integers(3, size=600), cluster)
        labeled = np.arange(300)
        query = autoal.select(Outputs(embeddings=x), 50, "learning_loss", labeled=labeled, labels=y[:300])
        assert (cluster[query.indices] == 2).mean() > 0.9

    def test_in_the_end_it_does_not_shape_the_classifier(self, monkeypatch):
        """TOGETHER = 0: the classifier is the one that is trained alone."""
        g = torch.Generator().manual_seed(0)
        x, y = torch.randn(40, 5, generator=g), torch.randint(2, (40,), generator=g)

        def hidden(together, **changes):
            with monkeypatch.context() as patch:
                for name, value in {"FEWEST_STEPS": 30, "EPOCHS": 1, "TOGETHER": together, **changes}.items():
                    patch.setattr(learning_loss, name, value)
                return learning_loss.train(x, y, 2, torch.Generator().manual_seed(1))[0].hidden.weight

        alone = {"ranking_loss": lambda predicted, losses: 0 * predicted.sum()}
        assert torch.equal(hidden(0.0), hidden(0.0, **alone))
        assert not torch.equal(hidden(0.6), hidden(0.6, **alone))

    def test_ranking_loss_by_hand(self):
        predicted, losses = torch.tensor([0.2, 1.0, 0.5, -1.0]), torch.tensor([3.0, 0.0, 1.0, 2.0])
        # pairs (0, 2): loss 3 > 1, difference -0.3, 1 + 0.3; (1, 3): loss 0 < 2, difference 2, 1 + 2
        assert learning_loss.ranking_loss(predicted, losses).item() == pytest.approx((1.3 + 3.0) / 2)


class TestVaal:
    def test_unlike_the_labeled_is_asked_first(self, blobs):
        x, y, _ = blobs
        labeled = np.flatnonzero(y == 0)[:20]
        query = autoal.select(Outputs(embeddings=x), 30, "vaal", labeled=labeled)
        assert (y[query.indices] != 0).mean() > 0.9
        rest = np.setdiff1d(np.flatnonzero(y == 0), labeled)
        everything = autoal.select(Outputs(embeddings=x), N - 20, "vaal", labeled=labeled).indices
        rank = np.argsort(everything)
        assert rank[np.isin(np.sort(everything), rest)].mean() > 1.3 * rank.mean(), "what looks labeled comes late"

    def test_evidence_loss_is_squared_errors_and_the_divergence_from_a_standard_normal_law(self):
        g = torch.Generator().manual_seed(0)
        batch, rebuilt = torch.randn(6, 3, generator=g), torch.randn(6, 3, generator=g)
        mean, log_variance = torch.randn(6, 4, generator=g), torch.randn(6, 4, generator=g)
        code = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
        divergence = torch.distributions.kl_divergence(code, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()
        want = np.square(batch.numpy() - rebuilt.numpy()).sum(axis=1).mean() + divergence.item()
        assert vaal.evidence_loss(batch, rebuilt, mean, log_variance).item() == pytest.approx(want, rel=1e-5)

    def test_without_labeled_samples_there_is_nothing_to_tell_apart(self, blobs):
        with pytest.raises(ValueError, match="'vaal' needs labeled samples"):
            autoal.select(Outputs(embeddings=blobs[0]), 3, "vaal")

    def test_an_outlier_does_not_overflow(self, blobs):
        x = blobs[0].copy()
        x[7] *= 1e6
        query = autoal.select(Outputs(embeddings=x), 10, "vaal", labeled=blobs[2])
        assert np.isfinite(query.scores).all()
