/* Inside the engine: what the loop thread (sched.c) and the workers (worker.c) share. Nobody else includes this.
 *
 * The path of one record: a call (a node with its inputs) is put into a batch by the loop thread, a worker computes the
 * call's key, finds its answer in the store or runs the operator, and leaves items; the loop thread pushes the items of
 * finished batches, in the order in which they were begun, onto the edges of the node's ports.
 *
 * Threads: the loop thread owns nodes, edges, windows, joins and the order; a worker owns the batch that it was given.
 * Items are immutable once emitted and counted; calls go from the loop to a worker and back.
 */
#ifndef LM_RUNTIME_ENGINE_H
#define LM_RUNTIME_ENGINE_H

#include "runtime/guard.h"
#include "runtime/map.h"
#include "runtime/run.h"
#include "runtime/step.h"
#include "store/store.h"

#include <pthread.h>
#include <uv.h>

enum { MAX_DEPTH = 7, MAX_BATCH = 1024 };

/* Where a record stands in its stream: the item of the source, then the emission's index at each fan-out. */
typedef struct order {
    uint32_t depth;
    uint32_t at[MAX_DEPTH];
} order;

typedef enum item_kind {
    ITEM_RECORD,
    ITEM_EMPTY,   /* a tombstone: this input gave nothing */
    ITEM_FAILED,  /* a tombstone: this input died in node `failed_in` */
    ITEM_UNKNOWN, /* plan: something that is not computed yet */
} item_kind;

typedef enum home_kind { HOME_NONE, HOME_ROW, HOME_ARTIFACT } home_kind;

typedef struct rt_node rt_node;
typedef struct origin origin;

/* What travels on an edge. */
typedef struct item {
    atomic_uint refs;
    uint8_t kind, home_kind;
    uint8_t port;          /* of the node that made it */
    bool known;            /* ident is set */
    uint16_t output;       /* HOME_ROW: which of the row's outputs */
    uint32_t index;        /* of a generator's emission */
    lm_record *record;     /* NULL: in the store, or to be computed again from its origin */
    origin *origin;        /* how it was made; NULL: not kept */
    const char *failed_in; /* name of the node; lives as long as the graph */
    char *id;              /* where there is no record */
    size_t bytes;          /* that its record holds in memory; set when the record is */
    uint64_t ticket;       /* of the write that holds it; 0: none, or long committed */
    order order;
    lm_digest ident; /* what downstream keys see: the artifact's digest, or that of (key, port, index) */
    lm_digest home;  /* key of the row that has it inside, or the artifact's own digest */
} item;

/* The inputs of one port of a call. */
typedef struct members {
    item **items;
    size_t n, missing;
} members;

/* A call whose result may have to be computed again. */
struct origin {
    atomic_uint refs;
    rt_node *node;
    unsigned n_in;
    bool is_error; /* the record on the port `errors`: the input with the attributes error, ... */
    lm_status error_status;
    char *error;
    uint64_t index;
    struct source_item *source; /* lives as long as the engine */
    char *window_id;
    members in[];
};

typedef struct source_item {
    char *id, *spec;
    char **files;
    size_t n_files;
    uint64_t number; /* its place in the source's order */
    lm_error *failed;
} source_item;

typedef enum outcome {
    PENDING,
    OUTPUT,
    EMPTY,
    DEAD,
    SKIPPED,
    BLOCKED,
    UNMATCHED,
    PASS_EMPTY,
    PASS_FAILED,
    UNKNOWN,
    RETRY,
    STOPPED
} outcome;

/* An item on its way, with what the loop thread wants to know of it: so that it need not touch memory that a worker is
 * writing to. */
typedef struct parcel {
    item *item;
    size_t bytes;
    uint64_t ticket;
    uint8_t port; /* of the node that made it; LM_ERRORS_PORT: errors */
    uint8_t kind;
} parcel;

typedef struct call {
    members *in; /* n_inputs of the node */
    source_item *source;
    const char *id; /* this and `order`: set by the worker where the input is a record */
    lm_error *error;
    unsigned first_out, n_out; /* in the batch's parcels */
    uint8_t outcome;
    bool cached, has_key, ended; /* ended: the generator has no more */
    bool wrote, blocked;
    bool hollow;          /* what is stored names records that are not kept */
    bool was_dead, saved; /* it has a dead letter that no longer counts; a checkpoint */
    uint16_t merge_port;
    uint16_t attempts;
    uint32_t would_run; /* steps (of a generator: emissions) that ran, or in a plan would run */
    char *window_id;    /* of a gather; owned */
    double seconds;
    /* from here on nothing is cleared: written before it is read, most of it only by what is not a small step */
    order order;
    const char *failed_in;
    uint64_t index, index_end; /* generator: emissions to make in this call */
    uint64_t at;               /* and the one under way, or that failed */
    lm_digest key;
    lm_digest told; /* the key without a sink's place, which a file may carry: the same bytes wherever it is written;
                     * and without how long a step goes on: its random streams and its checkpoint are those of a shorter one */
} call;

typedef struct batch {
    struct batch *next;      /* in the node's order */
    struct batch *next_task; /* in the pool's queue */
    struct batch *then;      /* what the next node of a chain made of this one's records */
    rt_node *node;
    size_t bytes; /* of this allocation */
    unsigned n;
    unsigned links; /* so many nodes of the chain go on with what it makes */
    bool done, listing;
    bool plain;     /* each call gave one record on the only port: the loop thread need not look at them one by one */
    bool bare;      /* its calls hold nothing any more: no inputs, no errors */
    bool last_part; /* of a generator's input */
    uint32_t quota; /* emissions that it may make */
    unsigned n_cached; /* of a plain batch */
    parcel *out;
    size_t n_out, cap_out;
    double seconds;
    size_t made_bytes;
    char **files; /* that a sink wrote or found */
    size_t n_files, cap_files;
    uint64_t n_written;
    lm_error failure; /* of the run itself: status != 0 */
    call calls[];
} batch;

typedef struct edge {
    rt_node *from, *to;
    unsigned from_port, to_port;
    parcel *ring;
    size_t head, n, cap;
    size_t bytes;      /* of records held here in memory */
    size_t spilled_to; /* of the n: so many from the head have been looked at for spilling */
    bool spill, ended;
    uint64_t pushed, taken;
} edge;

typedef struct inlet {
    const lm_port *port;
    edge **edges; /* one a wire */
    size_t n_edges;
    bool ordered_merge;
    size_t merge_at; /* port order: the wire that is read now */
    order last;      /* of a merge: where the item stood that was taken last */
    uint8_t last_kind;
    /* broadcast */
    item *broadcast;
    /* lookup and join: key -> item */
    lm_map table, seen;
} inlet;

struct rt_node {
    struct engine *engine;
    const lm_node *def;
    const lm_operator *op;
    lm_node_report *report;
    inlet *inputs;
    unsigned n_inputs, n_outputs, primary; /* primary: the first stream or merge port; n_inputs: none */
    edge **outs;                           /* all edges that leave it */
    size_t n_outs;
    bool is_source, is_gather, is_generator, is_sink;
    bool needs_key;   /* steps have keys: something below or here is stored */
    bool writes_rows; /* results are stored (or listed, under cache: none) */
    bool writes_artifacts;
    bool spills; /* an edge of its may spill: its records must be in the store */
    rt_node
        *chain; /* who may go on with what this one made, in the same worker, without an edge between; NULL: nobody */
    bool keeps_origin;
    lm_digest recipe;
    void *self;
    pthread_mutex_t lock;
    int opened; /* 0 no, 1 yes, -1 failed */
    lm_error open_error;
    lm_map paths; /* sink: path -> id */
    /* order of batches */
    batch *first, *last;
    unsigned in_flight; /* calls given out and not released */
    unsigned running;   /* batches with the workers */
    double cost_s;      /* of a call, smoothed; 0: unknown */
    double out_bytes;
    bool finished, busy_listing, listed, relist;
    bool stop_source;
    /* source */
    source_item **items;
    size_t n_items, cap_items, next_item;
    lm_map known_items;
    char **folders;
    size_t n_folders, cap_folders;
    uv_fs_event_t **watches; /* of folders[0 .. n_watches) */
    size_t n_watches, cap_watches;
    uv_timer_t timer;
    bool timer_on, timer_init;
    /* generator: the input whose emissions are being made */
    members *gen_in;
    order gen_order;
    uint64_t gen_next;
    bool gen_active, gen_waiting, gen_any, gen_dead;
    /* gather */
    bool fired;
    uint64_t window;
    double window_opened_s, head_since_s;
};

typedef struct worker {
    struct engine *engine;
    pthread_t thread;
    unsigned number;
    lm_snapshot *snapshot;
    uint64_t snapshot_ticket;
    struct job **jobs; /* steps under way: one a member of a micro-batch, and one a depth of recomputation */
    size_t n_jobs, cap_jobs, used_jobs;
    lm_arena arena; /* of a batch's lookups and encodings */
    guard_slot *slot;
    bool mend; /* a row that this batch met cannot be read: what it writes takes the place of what is there */
} worker;

typedef struct engine {
    const lm_graph *graph;
    lm_run_options options;
    lm_run_report *report;
    rt_node *nodes; /* as in the graph; def NULL: not part of this run */
    size_t n_nodes;
    edge *edges;
    size_t n_edges;
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t tick;
    uv_signal_t sigint, sigterm;
    bool loop_ready, scheduling;
    /* pool */
    pthread_mutex_t lock;
    pthread_cond_t work;
    batch *tasks, *last_task; /* waiting */
    batch *finished;          /* done, for the loop thread */
    unsigned n_workers, spanning;
    unsigned n_tasks; /* given out and not collected: the loop thread's own */
    bool quit;
    worker *workers;
    /* state */
    atomic_bool cancelled;
    bool stopping;
    int stop_signal;
    lm_error failure;
    bool plan;
    atomic_bool dead_known; /* the store has dead letters */
    uint64_t run;
    lm_map file_digests; /* path -> lm_digest *, under files_lock */
    pthread_mutex_t files_lock;
    lm_snapshot *loop_snapshot;
    guard *guard;
    lm_arena arena; /* of the loop thread */
    double started_s, last_progress_s;
    uint64_t dead;
    size_t queue_bytes;
    rt_node *tap_node;
    unsigned tap_port;
} engine;

/* item.c */
item *item_new(item_kind kind, const order *at);
item *item_ref(item *it);
item *item_unref(item *it);
const char *item_id(const item *it);
void item_take_record(item *it, lm_record *take);
/* A stand-in without the record, for an item that can be had again. NULL without memory. */
item *item_claim(const item *it);
/* May the record be dropped, once `committed` is on disk? */
bool item_is_safe(const item *it, uint64_t committed);
origin *origin_ref(origin *o);
origin *origin_unref(origin *o);
/* Takes references to a call's inputs. */
origin *origin_new(rt_node *node, const call *c);
int order_compare(const order *a, const order *b);
bool order_within(const order *inner, const order *outer); /* equal, or a child of it */
char *order_text(char buffer[128], const order *o);
order order_child(const order *parent, uint64_t index);
/* Where a call's results stand: where its first input stands. A merge of separate sources puts the wire's number before. */
order order_of_input(const rt_node *node, const call *c);

/* A batch in the making of its answers, by one worker. */
typedef struct work {
    worker *w;
    batch *b;
    lm_write *write; /* NULL until something is to be stored */
    bool replace;    /* what is written takes the place of what is there */
    bool force;      /* look nothing up: the stored answer proved damaged */
    unsigned depth;  /* of recomputation */
} work;

/* item.c */
batch *batch_new(rt_node *node, unsigned n, size_t outputs); /* outputs: so many find room at once */
void batch_free(batch *b);
bool batch_emit(batch *b, unsigned port, item *it); /* takes the item; false without memory */

/* worker.c */
void worker_init(worker *w, engine *e, unsigned number);
void worker_done(worker *w);
void worker_run(worker *w, batch *b);
void source_items_free(rt_node *node);

/* A record for an item: its own, from the store, or computed again. A new reference. tensors: all of them loaded. */
lm_status worker_materialise(worker *w, item *it, bool tensors, unsigned depth, lm_record **ret, lm_error *err);
lm_status worker_see(worker *w, uint64_t ticket, lm_error *err); /* a snapshot that holds what the ticket wrote */
lm_status work_writing(work *k, lm_error *err);                  /* k->write is there */

/* keys.c */
lm_status key_of_call(work *k, call *c, lm_error *err);
lm_status key_of_file(work *k, const char *path, lm_digest *ret, lm_error *err);
lm_digest key_of_index(const lm_digest *key, uint64_t index);
lm_digest ident_virtual(const lm_digest *key, unsigned port, uint64_t index);

/* answer.c: calls against the store */
/* Looks a call up. *ret: it is answered (its emissions are in the batch). */
lm_status answer_find(work *k, call *c, bool *ret, lm_error *err);
/* One index of a generator. *ret_ended: the stored count says that there is no such index. */
lm_status answer_find_index(work *k, call *c, uint64_t index, bool *ret, bool *ret_ended, lm_error *err);
/* Takes a step's outputs into the batch, and what is to be stored into the write. */
lm_status answer_take(work *k, call *c, lm_step *step, lm_error *err);
lm_status answer_end(work *k, call *c, uint64_t count, lm_error *err); /* a generator has given its last */
lm_status answer_sink(work *k, call *c, lm_step *step, lm_error *err);
/* An input that could not be processed: dead letter, record on `errors`. */
bool wants_errors(const rt_node *node); /* is its port `errors` wired? */
void answer_fail(work *k, call *c, lm_status status, const lm_error *err);
lm_status answer_error_record(const lm_record *input, const char *id, const rt_node *node, lm_status status,
                              const char *text, lm_record **ret, lm_error *err);
/* A stored record with absent tensors; LM_EINPUT: not there, or damaged. */
lm_status answer_load(worker *w, const item *it, lm_record **ret, lm_error *err);
lm_status answer_load_tensors(worker *w, lm_record **record, lm_error *err);

/* edge.c */
bool edge_push(engine *e, edge *to, const parcel *p); /* takes the item; false without memory */
item *edge_head(const edge *from);                    /* borrowed; NULL: empty */
item *edge_pop(engine *e, edge *from);                /* the caller owns it */
void edge_spill(engine *e, edge *at); /* beyond its bound a spilling edge keeps only what leads to its records */
bool push_to(rt_node *node, const parcel *p); /* takes the item, onto every edge of its port */
size_t node_room(
    const rt_node *node); /* how many more records its chain's edges can take, what is under way counted in */
/* Who goes on with the next batch: where it is known that a step is shorter than its hand-over is worth. */
rt_node *chain_next(const rt_node *node);

/* inlet.c: what a node may do next. READY: the call is filled in (or settled: outcome or error set); END: nothing will come */
typedef enum ready { READY, WAIT, END } ready;
ready next_stream(rt_node *node, call *c);
ready next_source(rt_node *node, call *c);
ready next_gather(rt_node *node, call *c);

/* plan.c */
bool plan_any_unknown(const call *c, unsigned n_inputs);
void plan_emit(work *k, call *c); /* what a step gives that is not known yet, on every port */
void plan_emit_index(work *k, call *c, uint64_t index);
void plan_count_again(const call *c, unsigned n_inputs);
void plan_tell(work *k, const call *c);

/* engine.c */
lm_status node_open_now(rt_node *node, lm_error *err);
static inline lm_status node_open(rt_node *node, lm_error *err)
{
    return __atomic_load_n(&node->opened, __ATOMIC_ACQUIRE) == 1 ? LM_OK : node_open_now(node, err);
}
void engine_fail(engine *e, const lm_error *err);
/* progress.c */
void progress_show(engine *e, bool last);
/* sched.c */
void sched_run(engine *e);
void sched_wake(void *engine_arg); /* from any thread */

#endif
