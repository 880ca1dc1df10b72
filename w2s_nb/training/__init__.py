"""Training: everything that ends in stored predictions.

`fit` is the way in. Where to look:

- `fit`: the steps from names to a stored fit, and the choice of the checkpoint that counts;
- `hyperparameters`: the defaults of each method;
- `recipes`: changes of them in one text, and published ones by name;
- `job`: one training of a classifier; early stopping decides there which step counts;
- `loop`: batches, gradients and learning rates;
- `logistic`: probes that are solved instead of trained;
- `result`: what is stored of a fit, and the `Fit` that reads it;
- `rewards`: scores of texts that a fit did not predict;
- `answers`, `language_model`: the same for tasks that are answered, and for plain text;
- `device_memory`: how much memory a training needs.
"""
