// Product as an operator of ONNX Runtime's: of a batch of pairs of matrices, or of one
// pair, cut into parts for the session's threads.
#include <pthread.h>
#include <string.h>

#include "custom_op.h"
#include "product.h"

enum { MOST_AXES = 8 };

// The numbers of passes.productLayout, in its order.
typedef struct {
	int64_t batch, m, n, k;
	int64_t left_turned, right_turned; // a factor lies as its transpose
	int64_t bias, times, plus;         // are further inputs
	int64_t threads;
} layout;

typedef struct {
	const void *api;
	layout l;
	size_t down, across; // parts of each product
	size_t rank;
	int64_t dims[MOST_AXES]; // of the output
} kernel;

// Panels are kept for the next product: as many as are worked at, at once.
static struct {
	pthread_mutex_t lock;
	struct panels {
		struct panels *next;
		size_t elements;
		float at[] __attribute__((aligned(64)));
	} *free;
} pool = {PTHREAD_MUTEX_INITIALIZER, NULL};

static struct panels *borrow(size_t elements) {
	pthread_mutex_lock(&pool.lock);
	struct panels *p = pool.free;
	if (p) pool.free = p->next;
	pthread_mutex_unlock(&pool.lock);
	if (p && p->elements >= elements) return p;
	free(p);
	void *made;
	if (posix_memalign(&made, 64, sizeof *p + elements * sizeof(float))) return NULL;
	p = made;
	p->elements = elements;
	return p;
}

static void give_back(struct panels *p) {
	pthread_mutex_lock(&pool.lock);
	p->next = pool.free;
	pool.free = p;
	pthread_mutex_unlock(&pool.lock);
}

static size_t part(size_t all, size_t parts, size_t unit) {
	size_t each = (all + parts - 1) / parts;
	return (each + unit - 1) / unit * unit;
}

// cut finds the parts whose panels take least: each copies its rows of the left
// factor and its columns of the right one.
static void cut(kernel *k) {
	size_t want = (size_t)k->l.threads, batch = (size_t)k->l.batch, m = (size_t)k->l.m, n = (size_t)k->l.n;
	k->down = k->across = 1;
	if (batch >= want) return;
	want = (want + batch - 1) / batch;
	size_t least = SIZE_MAX;
	for (size_t down = 1; down <= want; down++) {
		size_t across = want / down, lines = part(m, down, PRODUCT_TALL) + part(n, across, PRODUCT_WIDE);
		if (down * across == want && lines < least) least = lines, k->down = down, k->across = across;
	}
}

static status_t create(const custom_op *op, const void *api, const void *info, void **out) {
	enum { NUMBERS = sizeof(layout) / sizeof(int64_t) };
	int64_t numbers[NUMBERS], dims[MOST_AXES], all = 1, shaped;
	size_t rank = MOST_AXES;
	TRY(op_layout(api, info, numbers, NUMBERS, dims, &rank, &shaped));
	layout l;
	memcpy(&l, numbers, sizeof l);
	for (size_t i = 0; i < 4; i++)
		if (numbers[i] < 1 || numbers[i] > INT32_MAX || (i < 3 && __builtin_mul_overflow(all, numbers[i], &all))) return op_failed(api, "a layout of a product is damaged");
	if (shaped != all || l.threads < 1 || l.threads > INT32_MAX || (l.left_turned | l.right_turned | l.bias | l.times | l.plus) & ~1)
		return op_failed(api, "a layout of a product doesn't fit its shape");
	if (!product_here()) return op_failed(api, "this processor has no AVX-512 for products");
	kernel *k = calloc(1, sizeof *k);
	if (!k) return op_failed(api, "there is no memory for a layout of a product");
	*k = (kernel){.api = api, .l = l, .rank = rank};
	memcpy(k->dims, dims, rank * sizeof *dims);
	cut(k);
	*out = k;
	return NULL;
}

static void destroy(void *k) { free(k); }

typedef struct {
	const kernel *k;
	const float *a, *b, *bias, *times, *plus;
	float *c;
	int failed;
} job;

static void work(void *p, size_t block) {
	job *j = p;
	const layout *l = &j->k->l;
	size_t m = (size_t)l->m, n = (size_t)l->n, depth = (size_t)l->k, across = j->k->across, parts = j->k->down * across;
	size_t item = block / parts, row = block % parts / across, column = block % across;
	size_t rows = part(m, j->k->down, PRODUCT_TALL), columns = part(n, across, PRODUCT_WIDE);
	if (row * rows >= m || column * columns >= n) return;
	product_factor a = {j->a + item * m * depth, l->left_turned ? 1 : depth, l->left_turned ? m : 1};
	product_factor b = {j->b + item * depth * n, l->right_turned ? 1 : n, l->right_turned ? depth : 1};
	a.at += row * rows * a.row;
	b.at += column * columns * b.column;
	size_t at = (item * m + row * rows) * n + column * columns;
	product whole = {
		.m = m - row * rows < rows ? m - row * rows : rows,
		.n = n - column * columns < columns ? n - column * columns : columns,
		.k = depth,
		.a = a,
		.b = b,
		.c = j->c + at,
		.stride = n,
		.bias = j->bias ? j->bias + column * columns : NULL,
		.times = j->times ? j->times + at : NULL,
		.plus = j->plus ? j->plus + at : NULL,
	};
	struct panels *panels = borrow(product_memory(&whole));
	if (!panels) {
		__atomic_store_n(&j->failed, 1, __ATOMIC_RELAXED);
		return;
	}
	product_run(&whole, panels->at);
	give_back(panels);
}

static status_t compute(void *kernel_, void *context) {
	const kernel *k = kernel_;
	job j = {.k = k};
	TRY(op_input(k->api, context, 0, &j.a));
	TRY(op_input(k->api, context, 1, &j.b));
	size_t next = 2;
	if (k->l.bias) TRY(op_input(k->api, context, next++, &j.bias));
	if (k->l.times) TRY(op_input(k->api, context, next++, &j.times));
	if (k->l.plus) TRY(op_input(k->api, context, next++, &j.plus));
	TRY(op_output(k->api, context, 0, k->dims, k->rank, &j.c));
	TRY(op_parallel(k->api, context, work, (size_t)k->l.batch * k->down * k->across, &j));
	return j.failed ? op_failed(k->api, "there is no memory for a product's panels") : NULL;
}

static const char *name(const custom_op *op) { return "Product"; }

const custom_op product_op = {
	OP_VARIADIC,
	.GetMayInplace = op_none,
};
