/* The one user that every server of bench/unary answers with, under the id it was asked for. run.py expects these. */
#ifndef WEFT_BENCH_UNARY_USER_H
#define WEFT_BENCH_UNARY_USER_H

#define BENCH_USER_NAME  "Ada Lovelace"
#define BENCH_USER_EMAIL "ada@example.org"

#endif
