"""The paper's ablations as suites: `ablation-fusion` and `ablation-encoder` (Table 6), `ablation-distill` (Table 7).

They measure nothing of their own: each runs other suites with options that differ in the ablated part alone, and leaves
their rows.
"""
