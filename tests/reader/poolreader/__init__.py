# SPDX-License-Identifier: BSD-2-Clause
"""A second implementation of the on-disk format, for reading only, made from docs/FORMAT.md alone."""
