/* A graph as a drawing of its own: layers from left to right.
 *
 * The usual four steps: a layer for each node (the longest way from a source, sources drawn to their first reader), bends
 * where an edge crosses a layer, an order in each layer with few crossings (barycentres, sweeping both ways), and heights
 * that keep edges straight (least squares with a minimal distance: pool adjacent violators).
 */
#include "runtime/graph_show.h"
#include "runtime/registry.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BENDS = 200000, SWEEPS = 12, LEVELLINGS = 24, MOST_CROSSINGS = 1500 };
static const double box_height = 46, gap = 22, bend_gap = 14, layer_gap = 64, margin = 28;

typedef struct {
    const lm_node *node; /* NULL: a bend */
    size_t layer, place; /* place: from the top of its layer */
    double x, y, width, height, sum, count, key;
    double left, right; /* of the width: for the names of ports, where there are several */
} point;

typedef struct {
    size_t from, to; /* points of neighbouring layers */
} segment;

typedef struct {
    const lm_wire *wire;
    const lm_node *to;
    size_t input, bends, n_bends; /* its bends are points[bends ...] */
} edge;

typedef struct {
    const lm_graph *graph;
    point *points;
    segment *segments;
    edge *edges;
    size_t *slots, *starts; /* layer k: points slots[starts[k] .. starts[k + 1]), from the top */
    size_t n_points, n_segments, n_edges, n_layers;
} drawing;

typedef struct {
    const char *room, *fill, *line;
} ink;
static const ink inks[] = {
    {"io", "#dbe9f6", "#4a7fb0"},         {"flow", "#eeeeee", "#8a8a8a"},        {"lens", "#fde8c8", "#c98a2b"},
    {"deconvolve", "#d9f0dd", "#4c9a5c"}, {"reconstruct", "#e7def2", "#8763b0"}, {"learn", "#f9dcdc", "#bf5b5b"},
    {"infer", "#d5f0f0", "#3d9494"},      {"diagnose", "#f7efc0", "#ab962a"},    {"plot", "#f3dcec", "#b2609a"},
    {"plugins", "#ffffff", "#555555"},
};
enum { INKS = sizeof inks / sizeof *inks };

static const ink *ink_of(const lm_operator *op)
{
    const char *room = lm_operator_room(op);
    for (size_t i = 0; i < INKS; i++)
        if (strcmp(inks[i].room, room) == 0) return &inks[i];
    return &inks[INKS - 1];
}

/* ---- layers ---- */

static void find_layers(drawing *d)
{
    size_t n = d->graph->n_nodes;
    for (size_t i = 0; i < n; i++) {
        const lm_node *node = d->graph->nodes[i];
        for (size_t k = 0; k < node->n_inputs; k++)
            for (size_t w = 0; w < node->inputs[k].n_wires; w++) {
                size_t after = d->points[node->inputs[k].wires[w].from->index].layer + 1;
                if (d->points[i].layer < after) d->points[i].layer = after;
            }
        if (d->points[i].layer + 1 > d->n_layers) d->n_layers = d->points[i].layer + 1;
    }
    /* A source stands just before its first reader. */
    for (size_t i = 0; i < n; i++) {
        if (d->points[i].layer) continue;
        size_t first = d->n_layers;
        for (size_t e = 0; e < d->n_edges; e++)
            if (d->edges[e].wire->from->index == i && d->points[d->edges[e].to->index].layer < first)
                first = d->points[d->edges[e].to->index].layer;
        if (first && first < d->n_layers) d->points[i].layer = first - 1;
    }
}

static size_t count_bends(const drawing *d)
{
    size_t n = 0;
    for (size_t e = 0; e < d->n_edges; e++)
        n += d->points[d->edges[e].to->index].layer - d->points[d->edges[e].wire->from->index].layer - 1;
    return n;
}

static void add_bends(drawing *d)
{
    size_t at = d->graph->n_nodes;
    for (size_t i = 0; i < d->n_edges; i++) {
        edge *e = &d->edges[i];
        size_t from = e->wire->from->index, to = e->to->index;
        size_t n = d->points[to].layer - d->points[from].layer - 1;
        e->bends = at;
        e->n_bends = n;
        for (size_t k = 0; k < n; k++) {
            d->points[at] = (point){.layer = d->points[from].layer + 1 + k};
            d->segments[d->n_segments++] = (segment){k ? at - 1 : from, at};
            at++;
        }
        d->segments[d->n_segments++] = (segment){n ? at - 1 : from, to};
    }
    d->n_points = at;
}

static void fill_slots(drawing *d)
{
    for (size_t i = 0; i < d->n_points; i++) d->starts[d->points[i].layer + 1]++;
    for (size_t k = 0; k < d->n_layers; k++) d->starts[k + 1] += d->starts[k];
    size_t *next = d->slots + d->n_points; /* a second half, used here alone */
    memcpy(next, d->starts, d->n_layers * sizeof *next);
    for (size_t i = 0; i < d->n_points; i++) {
        point *p = &d->points[i];
        p->place = next[p->layer] - d->starts[p->layer];
        d->slots[next[p->layer]++] = i;
    }
}

/* ---- order ---- */

static int by_key(const void *a, const void *b, void *points)
{
    const point *x = (point *)points + *(const size_t *)a, *y = (point *)points + *(const size_t *)b;
    if (x->key < y->key || x->key > y->key) return x->key < y->key ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

static void gather_means(drawing *d, bool forward, bool heights)
{
    for (size_t i = 0; i < d->n_points; i++) d->points[i].sum = d->points[i].count = 0;
    for (size_t s = 0; s < d->n_segments; s++) {
        point *a = &d->points[d->segments[s].from], *b = &d->points[d->segments[s].to];
        if (!forward) {
            point *swap = a;
            a = b;
            b = swap;
        }
        b->sum += heights ? a->y : (double)a->place;
        b->count += 1;
    }
}

static void order_layer(drawing *d, size_t layer)
{
    size_t *slots = d->slots + d->starts[layer], n = d->starts[layer + 1] - d->starts[layer];
    for (size_t i = 0; i < n; i++) {
        point *p = &d->points[slots[i]];
        p->key = p->count > 0 ? p->sum / p->count : (double)p->place;
    }
    qsort_r(slots, n, sizeof *slots, by_key, d->points);
    for (size_t i = 0; i < n; i++) d->points[slots[i]].place = i;
}

static size_t crossings(const drawing *d)
{
    size_t n = 0;
    for (size_t i = 0; i < d->n_segments; i++) {
        const point *a = &d->points[d->segments[i].from], *b = &d->points[d->segments[i].to];
        for (size_t k = 0; k < i; k++) {
            const point *p = &d->points[d->segments[k].from], *q = &d->points[d->segments[k].to];
            if (p->layer == a->layer &&
                ((a->place < p->place && b->place > q->place) || (a->place > p->place && b->place < q->place)))
                n++;
        }
    }
    return n;
}

static void order_all(drawing *d)
{
    bool count = d->n_segments <= MOST_CROSSINGS;
    size_t *best = d->slots + d->n_points, fewest = count ? crossings(d) : 0;
    for (size_t i = 0; i < d->n_points; i++) best[i] = d->points[i].place;
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        bool forward = sweep % 2 == 0;
        for (size_t k = 1; k < d->n_layers; k++) {
            gather_means(d, forward, false);
            order_layer(d, forward ? k : d->n_layers - 1 - k);
        }
        size_t now = count ? crossings(d) : 0;
        if (count && now >= fewest) continue;
        fewest = now;
        for (size_t i = 0; i < d->n_points; i++) best[i] = d->points[i].place;
    }
    for (size_t i = 0; i < d->n_points; i++) d->points[i].place = best[i];
    for (size_t i = 0; i < d->n_points; i++) d->slots[d->starts[d->points[i].layer] + best[i]] = i;
}

/* ---- heights ---- */

static double distance(const point *above, const point *below)
{
    return (above->height + below->height) / 2 + (above->node && below->node ? gap : bend_gap);
}

/* The heights nearest to what is wished (key) in the least-squares sense, at the least distances and in order. */
static void level(drawing *d, size_t layer, double *mean, size_t *size)
{
    const size_t *slots = d->slots + d->starts[layer];
    size_t n = d->starts[layer + 1] - d->starts[layer], blocks = 0;
    double offset = 0;
    for (size_t i = 0; i < n; i++) {
        if (i) offset += distance(&d->points[slots[i - 1]], &d->points[slots[i]]);
        mean[blocks] = d->points[slots[i]].key - offset;
        size[blocks++] = 1;
        while (blocks > 1 && mean[blocks - 2] > mean[blocks - 1]) { /* they would be too near: move as one */
            size_t a = size[blocks - 2], b = size[blocks - 1];
            mean[blocks - 2] = (mean[blocks - 2] * (double)a + mean[blocks - 1] * (double)b) / (double)(a + b);
            size[blocks-- - 2] = a + b;
        }
    }
    offset = 0;
    for (size_t i = 0, block = 0, left = n ? size[0] : 0; i < n; i++) {
        if (i) offset += distance(&d->points[slots[i - 1]], &d->points[slots[i]]);
        if (!left) left = size[++block];
        d->points[slots[i]].y = mean[block] + offset;
        left--;
    }
}

static bool level_all(drawing *d)
{
    double *mean = lm_alloc(d->n_points, sizeof *mean);
    size_t *size = lm_alloc(d->n_points, sizeof *size);
    bool good = mean && size;
    for (size_t i = 0; i < d->n_points; i++) d->points[i].key = (double)d->points[i].place * (box_height + gap);
    for (size_t k = 0; good && k < d->n_layers; k++) level(d, k, mean, size);
    for (int pass = 0; good && pass < LEVELLINGS; pass++) {
        bool forward = pass % 2 == 0;
        for (size_t k = 0; k < d->n_layers; k++) {
            size_t layer = forward ? k : d->n_layers - 1 - k;
            gather_means(d, forward, true);
            for (size_t i = d->starts[layer]; i < d->starts[layer + 1]; i++) {
                point *p = &d->points[d->slots[i]];
                p->key = p->count > 0 ? p->sum / p->count : p->y;
            }
            level(d, layer, mean, size);
        }
    }
    lm_free(mean);
    lm_free(size);
    return good;
}

/* ---- ink ---- */

static double text_width(const char *text, double size)
{
    double width = 0;
    for (; *text; text++) {
        if (((unsigned char)*text & 0xC0) == 0x80) continue;
        width += strchr("iljtf.,:;|!/ '", *text) ? 0.32 : strchr("mwMW_", *text) ? 0.82 : 0.58;
    }
    return width * size;
}

static void escape(lm_text *to, const char *text)
{
    for (; *text; text++) {
        if (*text == '<') lm_text_add(to, "&lt;");
        else if (*text == '>') lm_text_add(to, "&gt;");
        else if (*text == '&') lm_text_add(to, "&amp;");
        else if (*text == '"') lm_text_add(to, "&quot;");
        else lm_text_char(to, *text);
    }
}

static void label(lm_text *to, double x, double y, const char *class, const char *text)
{
    lm_text_format(to, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">", x, y, class);
    escape(to, text);
    lm_text_add(to, "</text>\n");
}

/* Where an edge leaves a box: ports from the top, errors below all. */
static double port_height(const point *p, size_t port, size_t n)
{
    return p->y - p->height / 2 + p->height * ((double)port + 1) / ((double)n + 1);
}

static bool errors_used(const drawing *d, const lm_node *node)
{
    for (size_t e = 0; e < d->n_edges; e++)
        if (d->edges[e].wire->from == node && d->edges[e].wire->port == LM_ERRORS_PORT) return true;
    return false;
}

static void draw_edge(const drawing *d, const edge *e, lm_text *to)
{
    const point *from = &d->points[e->wire->from->index], *end = &d->points[e->to->index];
    const lm_port *ports[16];
    size_t outputs = lm_operator_outputs(from->node->op, ports), all = outputs + errors_used(d, from->node);
    bool errors = e->wire->port == LM_ERRORS_PORT;
    double x = from->x + from->width, y = port_height(from, errors ? outputs : e->wire->port, all);
    double first_y = y, last_y = port_height(end, e->input, e->to->n_inputs);
    lm_text_format(to, "<path class=\"%s\" marker-end=\"url(#%s)\" d=\"M%.1f %.1f", errors ? "edge bad" : "edge",
                   errors ? "tip-bad" : "tip", x, y);
    for (size_t i = 0; i <= e->n_bends; i++) {
        const point *next = i < e->n_bends ? &d->points[e->bends + i] : end;
        double nx = next->x - (i == e->n_bends ? 5 : 0), ny = i == e->n_bends ? last_y : next->y;
        double half = (nx - x) / 2;
        lm_text_format(to, " C%.1f %.1f %.1f %.1f %.1f %.1f", x + half, y, nx - half, ny, nx, ny);
        x = nx;
        y = ny;
        if (i < e->n_bends) {
            x += next->width;
            lm_text_format(to, " H%.1f", x);
        }
    }
    lm_text_add(to, "\"/>\n");
    if (errors) label(to, from->x + from->width + 4, first_y + 11, "port bad", "errors");
}

static void draw_box(const drawing *d, const point *p, lm_text *to)
{
    const lm_port *ports[16];
    const ink *i = ink_of(p->node->op);
    size_t outputs = lm_operator_outputs(p->node->op, ports), all = outputs + errors_used(d, p->node);
    double middle = p->x + p->left + (p->width - p->left - p->right) / 2;
    lm_text_add(to, "<g><title>");
    escape(to, p->node->doc ? p->node->doc : p->node->op->summary);
    lm_text_format(to,
                   "</title><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"8\" fill=\"%s\" "
                   "stroke=\"%s\"/>\n",
                   p->x, p->y - p->height / 2, p->width, p->height, i->fill, i->line);
    label(to, middle, p->y - 4, "name", p->node->name);
    label(to, middle, p->y + 13, "op", p->node->op->name);
    for (size_t k = 0; p->left > 0 && k < p->node->n_inputs; k++)
        label(to, p->x + 7, port_height(p, k, p->node->n_inputs) + 3, "port", p->node->inputs[k].port->name);
    for (size_t k = 0; p->right > 0 && k < outputs; k++)
        label(to, p->x + p->width - 7, port_height(p, k, all) + 3, "port end", ports[k]->name);
    lm_text_add(to, "</g>\n");
}

static void draw_legend(const drawing *d, double x, double y, lm_text *to)
{
    for (size_t i = 0; i < INKS; i++) {
        bool used = false;
        for (size_t k = 0; k < d->graph->n_nodes && !used; k++) used = ink_of(d->graph->nodes[k]->op) == &inks[i];
        if (!used) continue;
        lm_text_format(to,
                       "<rect x=\"%.1f\" y=\"%.1f\" width=\"12\" height=\"12\" rx=\"3\" fill=\"%s\" stroke=\"%s\"/>\n",
                       x, y - 10, inks[i].fill, inks[i].line);
        label(to, x + 18, y, "legend", inks[i].room);
        x += 18 + text_width(inks[i].room, 11) + 18;
    }
}

static double legend_width(const drawing *d)
{
    double width = 0;
    for (size_t i = 0; i < INKS; i++)
        for (size_t k = 0; k < d->graph->n_nodes; k++)
            if (ink_of(d->graph->nodes[k]->op) == &inks[i]) {
                width += 36 + text_width(inks[i].room, 11);
                break;
            }
    return width;
}

static void draw(drawing *d, lm_text *to)
{
    /* Columns, then the drawing's own corner. */
    double x = margin, top = INFINITY, bottom = -INFINITY;
    for (size_t k = 0; k < d->n_layers; k++) {
        double widest = 0;
        for (size_t i = d->starts[k]; i < d->starts[k + 1]; i++) widest = fmax(widest, d->points[d->slots[i]].width);
        for (size_t i = d->starts[k]; i < d->starts[k + 1]; i++) {
            point *p = &d->points[d->slots[i]];
            p->x = p->node ? x + (widest - p->width) / 2 : x;
            if (!p->node) p->width = widest;
            top = fmin(top, p->y - p->height / 2);
            bottom = fmax(bottom, p->y + p->height / 2);
        }
        x += widest + layer_gap;
    }
    double head = *d->graph->doc ? 62 : 44, width = x - layer_gap + margin;
    width = fmax(width, 2 * margin + fmax(text_width(d->graph->name, 18), fmin(text_width(d->graph->doc, 12), 900)));
    width = fmax(width, 2 * margin + legend_width(d));
    for (size_t i = 0; i < d->n_points; i++) d->points[i].y += head + margin / 2 - top;
    double height = bottom - top + head + margin / 2 + 46;
    lm_text_format(
        to, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\">\n",
        width, height, width, height);
    lm_text_add(
        to, "<style>text{font-family:Helvetica,Arial,sans-serif;fill:#222}"
            ".title{font-size:18px;font-weight:bold}.doc{font-size:12px;fill:#666}"
            ".name{font-size:13px;font-weight:bold;text-anchor:middle}.op{font-size:11px;fill:#555;text-anchor:middle}"
            ".port{font-size:10px;fill:#666}.end{text-anchor:end}.legend{font-size:11px;"
            "fill:#555}"
            ".edge{fill:none;stroke:#777;stroke-width:1.6}.edge.bad{stroke:#b03030;stroke-dasharray:5 4}"
            ".port.bad{fill:#b03030}rect{stroke-width:1.3}</style>\n"
            "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"3\" refY=\"4\" markerWidth=\"5\" markerHeight=\"5\" "
            "orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"#777\"/></marker>"
            "<marker id=\"tip-bad\" viewBox=\"0 0 8 8\" refX=\"3\" refY=\"4\" markerWidth=\"5\" markerHeight=\"5\" "
            "orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"#b03030\"/></marker></defs>\n");
    lm_text_format(to, "<rect width=\"%.0f\" height=\"%.0f\" fill=\"#fff\"/>\n", width, height);
    label(to, margin, 32, "title", d->graph->name);
    if (*d->graph->doc) label(to, margin, 52, "doc", d->graph->doc);
    for (size_t e = 0; e < d->n_edges; e++) draw_edge(d, &d->edges[e], to);
    for (size_t i = 0; i < d->graph->n_nodes; i++) draw_box(d, &d->points[i], to);
    draw_legend(d, margin, height - 18, to);
    lm_text_add(to, "</svg>\n");
}

/* A box large enough for its words, and for the names of its ports where it has several. */
static point box_of(const lm_node *node)
{
    const lm_port *ports[16];
    point p = {.node = node};
    size_t outputs = lm_operator_outputs(node->op, ports), most = outputs > node->n_inputs ? outputs : node->n_inputs;
    for (size_t k = 0; node->n_inputs > 1 && k < node->n_inputs; k++)
        p.left = fmax(p.left, text_width(node->inputs[k].port->name, 10) + 6);
    for (size_t k = 0; outputs > 1 && k < outputs; k++) p.right = fmax(p.right, text_width(ports[k]->name, 10) + 6);
    p.width = fmax(text_width(node->name, 13.5), text_width(node->op->name, 11)) + 26 + p.left + p.right;
    p.height = fmax(box_height, 15 * ((double)most + 1));
    return p;
}

lm_status lm_graph_show_svg(const lm_graph *graph, lm_text *to)
{
    drawing d = {.graph = graph};
    size_t n = graph->n_nodes, bends = 0;
    bool good = false;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < graph->nodes[i]->n_inputs; k++) d.n_edges += graph->nodes[i]->inputs[k].n_wires;
    d.edges = lm_alloc(d.n_edges, sizeof *d.edges);
    d.points = lm_alloc(n, sizeof *d.points);
    if (d.edges && d.points) {
        size_t e = 0;
        for (size_t i = 0; i < n; i++) {
            const lm_node *node = graph->nodes[i];
            d.points[i] = box_of(node);
            for (size_t k = 0; k < node->n_inputs; k++)
                for (size_t w = 0; w < node->inputs[k].n_wires; w++)
                    d.edges[e++] = (edge){.wire = &node->inputs[k].wires[w], .to = node, .input = k};
        }
        find_layers(&d);
        bends = count_bends(&d);
        if (bends <= MOST_BENDS) {
            point *more = lm_realloc(d.points, n + bends, sizeof *more);
            if (more) d.points = more;
            d.segments = lm_alloc(d.n_edges + bends, sizeof *d.segments);
            d.slots = lm_alloc(2 * (n + bends) + d.n_layers, sizeof *d.slots);
            d.starts = lm_alloc(d.n_layers + 2, sizeof *d.starts);
            good = more && d.segments && d.slots && d.starts;
        }
        if (good) {
            add_bends(&d);
            fill_slots(&d);
            order_all(&d);
            good = level_all(&d);
        }
        if (good) draw(&d, to);
    }
    lm_free(d.edges);
    lm_free(d.points);
    lm_free(d.segments);
    lm_free(d.slots);
    lm_free(d.starts);
    if (!good) to->failed = true;
    return good ? LM_OK : LM_EMEMORY;
}
