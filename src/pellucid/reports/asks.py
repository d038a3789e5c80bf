"""What each method asks of a model, in plain words."""

ASKS = {
    "saliency": "Asks how much the score would change if each {unit} were changed a very little "
    "(the gradient).",
    "gradient_x_input": "Multiplies each {unit} by its gradient: what it contributes if the model "
    "is taken to be a straight line here.",
    "integrated_gradients": "Lets the {whole} grow out of a baseline and adds up how much each "
    "{unit} raises or lowers the score on the way.",
    "smoothgrad": "Averages the gradient over noisy copies of the {whole}, so that only what "
    "survives small noise remains.",
    "squaregrad": "Averages the squared gradient over noisy copies of the {whole}: how strongly "
    "the score reacts to each {unit}, either way.",
    "vargrad": "Asks how much the gradient of each {unit} varies over noisy copies of the {whole}.",
    "expected_gradients": "Lets the {whole} grow out of many examples of a background and adds up "
    "how much each {unit} raises or lowers the score on the way.",
    "blur_integrated_gradients": "Lets the {whole} grow sharp from a blurred copy and adds up how "
    "much each {unit} raises or lowers the score on the way.",
    "guided_integrated_gradients": "Lets the {whole} grow out of a baseline, what matters least "
    "first, and adds up how much each {unit} raises or lowers the score on the way.",
    "gradcam": "Asks where, in one inner layer, the features that raise the score are active: a "
    "coarse map that keeps only evidence in favour.",
    "gradcam_plus_plus": "Asks what Grad-CAM asks, with weights that do not fade where an object "
    "is small: a coarse map that keeps only evidence in favour.",
    "hirescam": "Multiplies what one inner layer found, place by place, by how much the score "
    "needs it there: a coarse map that keeps only evidence in favour.",
    "xgradcam": "Asks what Grad-CAM asks, with gradients that count more where a feature is "
    "strong: a coarse map that keeps only evidence in favour.",
    "layercam": "Keeps, place by place, the features of one inner layer that raise the score: a "
    "map of evidence in favour, as fine as the layer.",
    "eigencam": "Shows what stands out in one inner layer. It does not look at the target: every "
    "class gets the same map.",
    "scorecam": "Shows the model the {whole} through each feature of one inner layer, and weighs "
    "the features by the score that remains: a coarse map.",
    "ablationcam": "Takes away the features of one inner layer one at a time and weighs each by "
    "the score it costs: a coarse map that keeps only evidence in favour.",
    "deeplift": "Follows the difference from a baseline through the network, step by step: how "
    "much each {unit} raises or lowers the score.",
    "deep_shap": "Follows the differences from many examples of a background through the network: "
    "how much each {unit} raises or lowers the score on average.",
    "lrp": "Hands the score down through the network, layer by layer: which part of it each "
    "{unit} holds in the end.",
    "excitation_backprop": "Walks from the score down the positive connections of the network: "
    "which share of the walks ends at each {unit}.",
    "guided_backprop": "Follows the gradient down and keeps only what is positive at every ReLU: "
    "fine lines that need not be about the answer.",
    "deconvnet": "Runs the network backwards and keeps only what is positive at every ReLU: fine "
    "lines that need not be about the answer.",
    "guided_gradcam": "Shows the fine lines of guided backpropagation where Grad-CAM finds the "
    "answer.",
    "activations": "Shows what one inner layer returns. It does not look at the target: every "
    "class gets the same numbers.",
    "occlusion": "Covers the {whole} one part at a time and notes how far the score falls.",
    "exact_shapley": "Shares out what the {whole} adds to the score: the mean of what a part adds "
    "over all orders in which the parts could come in.",
    "kernel_shap": "Shares out what the {whole} adds to the score among its parts, from many "
    "copies with some parts taken away.",
    "permutation_shap": "Puts the parts of the {whole} in one by one, in many random orders, and "
    "notes what each adds to the score.",
    "partition_shap": "Shares out what the {whole} adds to the score down a tree of its parts, "
    "halves first, then halves of halves.",
    "shapley_interactions": "Asks what two parts of the {whole} add together beyond what each adds "
    "alone.",
    "attention": "Shows where the model's attention looks. It does not say whether that raised or "
    "lowered the score.",
    "attention_norm": "Shows how much attention brings in from each place, weights and what they "
    "weigh together.",
    "attention_rollout": "Follows attention through all layers back to the {whole}. It does not "
    "look at the target: every class gets the same map.",
    "attention_gradient": "Follows attention through all layers, counting only what raises the "
    "score.",
    "lime": "Fits a straight line to what the model says of many changed copies of the {whole}, "
    "near ones first: its slopes.",
    "rise": "Shows the model the {whole} through many random smooth masks: what seeing a place "
    "adds to the score.",
    "sobol": "Lets parts of the {whole} fade at random: the share of the score's ups and downs in "
    "which a part has a hand.",
    "hsic": "Hides random parts of the {whole} and tests whether the score depends on a part: how "
    "strongly, without a direction.",
    "tree_shap": "Shares the score out among the columns as the branches of the trees use them.",
    "feature_permutation": "Shuffles a column over all rows and notes what this row's answer loses "
    "or how far it moves.",
    "surrogate_tree": "Grows a small tree that imitates the model on other rows, and notes what "
    "each question on this row's way moves the tree's answer by. It explains the tree.",
    "random": "A control: it does not look at the model; its values are drawn by chance.",
    "edges": "A control: it does not look at the model, only at the edges in the {whole}.",
    "constant": "A control: it does not look at the model; every {unit} gets the same value.",
}
"""What each method asks of the model; `{unit}` and `{whole}` fit the kind of input."""
