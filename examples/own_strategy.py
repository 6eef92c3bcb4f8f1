"""A strategy of your own, compared with AutoAL on the digits, and used as one of its candidates."""

import torch

import autoal
from autoal.experiment import datasets
from autoal.strategies import ScoreStrategy


class TopTwoProduct(ScoreStrategy):
    """The product of the two largest probabilities: high where the model wavers between exactly two classes."""

    name = "top_two_product"
    needs = ("logits",)

    def score(self, context: autoal.Context) -> torch.Tensor:
        """[N] p(1) * p(2)."""
        return context.outputs.logits.softmax(dim=1).topk(2, dim=1).values.prod(dim=1)


digits = datasets.load("digits")
strategies = {
    "own": TopTwoProduct(),
    "autoal": autoal.AutoAL(),
    "autoal with own": autoal.AutoAL(candidates=("entropy", "margin", TopTwoProduct)),
}
for label, strategy in strategies.items():
    learner = autoal.ActiveLearner(
        digits.x_train, "linear", strategy, oracle=autoal.DataSetOracle(digits.y_train),
        initial_size=20, query_size=20, budget=160, seed=0,
    )  # fmt: skip
    learner.run()
    accuracy = (learner.model.predict(torch.from_numpy(digits.x_test)) == digits.y_test).mean()
    print(f"{label:16s} {100 * accuracy:.1f} % after {len(learner.pool.labeled)} labels")
