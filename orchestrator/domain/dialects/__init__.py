"""What the dialects' clients read and are told: pure, made of the same rows as everything else.

They know nothing of each other, and own neither state nor rules.
"""
