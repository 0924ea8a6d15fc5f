# SPDX-License-Identifier: BSD-2-Clause
"""Whether all that a pool says agrees with itself: beyond what a reader of data needs."""
