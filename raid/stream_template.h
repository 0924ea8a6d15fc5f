/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernels of stream.c for one instruction set, which the includer has selected: STREAM(name) makes their names,
 * STREAM_TARGET is the attribute that selects the instructions, STREAM_LINE the compiler's vector of the width of a
 * register, and STREAM_STORE(target, line) stores one around the cache.
 *
 * Four lines at a time hide the latency of the chain of multiplications by 2. They are written out because the compiler
 * keeps them in registers only then, which is worth a quarter of the speed of the whole pass.
 */
#define LINES		     4
#define AT(pointer, n)	     (((const STREAM_LINE *)(pointer))[i + (n)])
#define PUT(pointer, n)	     (((STREAM_LINE *)(pointer))[i + (n)])
#define SIGNED		     __typeof__((STREAM_LINE){ 0 } == (STREAM_LINE){ 0 })
#define DOUBLE(line)	     (((line) + (line)) ^ ((STREAM_LINE)((SIGNED)(line) < 0) & 0x1d))
#define FOR_LINES_OF_A_CELL  for (size_t i = 0; i < RAID_CELL / sizeof(STREAM_LINE); i += LINES)

STREAM_TARGET static void STREAM(copy)(void *target, const void *source)
{
	FOR_LINES_OF_A_CELL
	{
		STREAM_LINE line0 = AT(source, 0), line1 = AT(source, 1), line2 = AT(source, 2), line3 = AT(source, 3);

		STREAM_STORE(&PUT(target, 0), line0);
		STREAM_STORE(&PUT(target, 1), line1);
		STREAM_STORE(&PUT(target, 2), line2);
		STREAM_STORE(&PUT(target, 3), line3);
	}
}

STREAM_TARGET static void STREAM(p)(unsigned k, const void *const *data, void *p)
{
	FOR_LINES_OF_A_CELL
	{
		const void *column = data[0];
		STREAM_LINE p0 = AT(column, 0), p1 = AT(column, 1), p2 = AT(column, 2), p3 = AT(column, 3);

		for (unsigned c = 1; c < k; c++) {
			column = data[c];
			p0 ^= AT(column, 0);
			p1 ^= AT(column, 1);
			p2 ^= AT(column, 2);
			p3 ^= AT(column, 3);
		}
		STREAM_STORE(&PUT(p, 0), p0);
		STREAM_STORE(&PUT(p, 1), p1);
		STREAM_STORE(&PUT(p, 2), p2);
		STREAM_STORE(&PUT(p, 3), p3);
	}
}

/* Q by Horner's rule: from the last column to the first, multiply by 2 and add. */
STREAM_TARGET static void STREAM(p_and_q)(unsigned k, const void *const *data, void *p, void *q)
{
	FOR_LINES_OF_A_CELL
	{
		const void *column = data[k - 1];
		STREAM_LINE p0 = AT(column, 0), p1 = AT(column, 1), p2 = AT(column, 2), p3 = AT(column, 3);
		STREAM_LINE q0 = p0, q1 = p1, q2 = p2, q3 = p3;

		for (unsigned c = k - 1; c-- > 0;) {
			column = data[c];
			STREAM_LINE d0 = AT(column, 0), d1 = AT(column, 1), d2 = AT(column, 2), d3 = AT(column, 3);

			q0 = DOUBLE(q0) ^ d0;
			q1 = DOUBLE(q1) ^ d1;
			q2 = DOUBLE(q2) ^ d2;
			q3 = DOUBLE(q3) ^ d3;
			p0 ^= d0;
			p1 ^= d1;
			p2 ^= d2;
			p3 ^= d3;
		}
		PUT(q, 0) = q0;
		PUT(q, 1) = q1;
		PUT(q, 2) = q2;
		PUT(q, 3) = q3;
		STREAM_STORE(&PUT(p, 0), p0);
		STREAM_STORE(&PUT(p, 1), p1);
		STREAM_STORE(&PUT(p, 2), p2);
		STREAM_STORE(&PUT(p, 3), p3);
	}
}

#undef LINES
#undef AT
#undef PUT
#undef SIGNED
#undef DOUBLE
#undef FOR_LINES_OF_A_CELL
#undef STREAM
#undef STREAM_TARGET
#undef STREAM_LINE
#undef STREAM_STORE
