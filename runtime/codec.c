#include "runtime/codec.h"
#include "runtime/log.h"

#include "schemas/lensmill.pb-c.h"

#include <string.h>

/* ---- tensors: written and read by hand, so that the payload is never copied ---------------------------------------- */

/* Field numbers and wire types of message Tensor. */
enum {
    TAG_FORMAT = 1 << 3 | 0,
    TAG_DTYPE = 2 << 3 | 0,
    TAG_SHAPE = 3 << 3 | 2,
    TAG_UNIT = 4 << 3 | 2,
    TAG_AXIS = 5 << 3 | 2,
    TAG_PAD = 14 << 3 | 2,
    TAG_DATA = 15 << 3 | 2,
    ALIGN = 64,
    /* A large value starts at 16 mod 4096 in the store's memory map: payload at 48 mod 64 of the value. */
    PAYLOAD_AT = 48,
};

static size_t put_varint(uint8_t *to, uint64_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7) to[n++] = (uint8_t)(value | 0x80);
    to[n++] = (uint8_t)value;
    return n;
}

static bool get_varint(lm_bytes *from, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (!from->size) return false;
        uint8_t byte = *from->data++;
        from->size--;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static size_t put_bytes(uint8_t *to, uint8_t tag, const void *bytes, size_t n)
{
    size_t at = 0;
    to[at++] = tag;
    at += put_varint(to + at, n);
    if (n) memcpy(to + at, bytes, n);
    return at + n;
}

lm_status lm_tensor_prefix(const lm_tensor *tensor, uint8_t *prefix, size_t *ret_size, lm_error *err)
{
    size_t words = (tensor->unit ? strlen(tensor->unit) : 0) + (tensor->axes ? 2 * strlen(tensor->axes) : 0);
    if (words > LM_TENSOR_PREFIX - 256)
        return LM_FAIL(err, LM_EINPUT, "a tensor's unit and axis names are longer than %d bytes",
                       LM_TENSOR_PREFIX - 256);
    uint8_t shape[LM_MAX_DIMS * 10];
    size_t n_shape = 0, at = 0;
    for (unsigned i = 0; i < tensor->ndim; i++) n_shape += put_varint(shape + n_shape, tensor->shape[i]);
    prefix[at++] = TAG_FORMAT;
    prefix[at++] = LM_FORMAT;
    prefix[at++] = TAG_DTYPE;
    prefix[at++] = (uint8_t)tensor->dtype;
    if (tensor->ndim) at += put_bytes(prefix + at, TAG_SHAPE, shape, n_shape);
    if (tensor->unit) at += put_bytes(prefix + at, TAG_UNIT, tensor->unit, strlen(tensor->unit));
    for (const char *axis = tensor->axes; axis && *axis;) {
        size_t n = strcspn(axis, " ");
        if (n) at += put_bytes(prefix + at, TAG_AXIS, axis, n);
        axis += n + (axis[n] == ' ');
    }
    uint8_t length[10];
    size_t n_length = put_varint(length, tensor->bytes);
    size_t end = at + 2 + 1 + n_length; /* with an empty pad */
    size_t pad = (PAYLOAD_AT + 4 * ALIGN - end % ALIGN) % ALIGN;
    static const uint8_t zeros[ALIGN];
    at += put_bytes(prefix + at, TAG_PAD, zeros, pad);
    prefix[at++] = TAG_DATA;
    memcpy(prefix + at, length, n_length);
    *ret_size = at + n_length;
    return LM_OK;
}

lm_status lm_tensor_digest(lm_tensor *tensor, lm_digest *ret, lm_error *err)
{
    if (atomic_load_explicit(&tensor->hashed, memory_order_acquire) != 2) {
        uint8_t prefix[LM_TENSOR_PREFIX];
        size_t n;
        LM_TRY(lm_tensor_prefix(tensor, prefix, &n, err));
        lm_hash hash;
        lm_hash_init(&hash);
        lm_hash_add(&hash, prefix, n);
        lm_hash_add(&hash, tensor->data, tensor->bytes);
        lm_digest digest = lm_hash_finish(&hash);
        unsigned expected = 0;
        if (atomic_compare_exchange_strong(&tensor->hashed, &expected, 1)) {
            tensor->digest = digest;
            atomic_store_explicit(&tensor->hashed, 2, memory_order_release);
        }
        *ret = digest;
        return LM_OK;
    }
    *ret = tensor->digest;
    return LM_OK;
}

static lm_status damaged(lm_error *err, const char *what)
{
    return LM_FAIL(err, LM_EINPUT, "a stored message is damaged: %s", what);
}

static lm_status newer(lm_error *err, uint64_t format)
{
    return LM_FAIL_HINT(err, LM_EINPUT, "Use the newer lensmill that wrote it.",
                        "a message of format %llu; this lensmill reads up to %d", (unsigned long long)format,
                        LM_FORMAT);
}

lm_status lm_tensor_absent(lm_dtype dtype, unsigned ndim, const size_t *shape, const lm_digest *digest, lm_tensor **ret,
                           lm_error *err)
{
    LM_OWN(lm_tensor) tensor = NULL;
    LM_TRY(lm_tensor_wrap(dtype, ndim, shape, NULL, NULL, NULL, &tensor, err));
    tensor->digest = *digest;
    atomic_store(&tensor->hashed, 2);
    *ret = lm_take(tensor);
    return LM_OK;
}

lm_status lm_tensor_decode(lm_bytes stored, void (*release)(void *owner), void *owner, lm_tensor **ret, lm_error *err)
{
    uint64_t format = 0, dtype = 0, value;
    size_t shape[LM_MAX_DIMS];
    unsigned ndim = 0;
    const uint8_t *data = NULL;
    size_t n_data = 0, n_unit = 0, n_axes = 0;
    char unit[LM_TENSOR_PREFIX], axes[LM_TENSOR_PREFIX];
    lm_bytes at = stored;
    while (at.size) {
        uint64_t tag;
        if (!get_varint(&at, &tag)) return damaged(err, "a tensor's tag");
        if ((tag & 7) == 0) {
            if (!get_varint(&at, &value)) return damaged(err, "a tensor's number");
            if (tag == TAG_FORMAT) format = value;
            if (tag == TAG_DTYPE) dtype = value;
            continue;
        }
        if ((tag & 7) != 2 || !get_varint(&at, &value) || value > at.size) return damaged(err, "a tensor's field");
        lm_bytes field = {at.data, (size_t)value};
        at.data += field.size;
        at.size -= field.size;
        if (tag == TAG_SHAPE) {
            for (lm_bytes lengths = field; lengths.size;) {
                if (ndim == LM_MAX_DIMS || !get_varint(&lengths, &value)) return damaged(err, "a tensor's shape");
                shape[ndim++] = value;
            }
        } else if (tag == TAG_UNIT) {
            if (field.size >= sizeof unit) return damaged(err, "a tensor's unit");
            memcpy(unit, field.data, n_unit = field.size);
        } else if (tag == TAG_AXIS) {
            if (field.size + 1 >= sizeof axes - n_axes) return damaged(err, "a tensor's axis names");
            if (!field.size) continue;
            if (n_axes) axes[n_axes++] = ' ';
            memcpy(axes + n_axes, field.data, field.size);
            n_axes += field.size;
        } else if (tag == TAG_DATA) {
            data = field.data;
            n_data = field.size;
        }
    }
    if (format > LM_FORMAT) return newer(err, format);
    unit[n_unit] = axes[n_axes] = 0;
    if (!lm_dtype_size((lm_dtype)dtype)) return damaged(err, "a tensor's type");
    LM_OWN(lm_tensor) tensor = NULL;
    LM_TRY(lm_tensor_wrap((lm_dtype)dtype, ndim, shape, NULL, NULL, NULL, &tensor, err));
    if (tensor->bytes != n_data) return damaged(err, "a tensor's size does not fit its shape");
    LM_TRY(lm_tensor_set_unit(tensor, unit, err));
    LM_TRY(lm_tensor_set_axes(tensor, axes, err));
    static const uint8_t nothing;
    if (release && (uintptr_t)data % lm_dtype_size(tensor->dtype) == 0) {
        tensor->data = (void *)(uintptr_t)(data ? data : &nothing);
        tensor->release = release;
        tensor->owner = owner;
    } else { /* a message of somebody else's making: its payload may lie anywhere */
        tensor->data = lm_alloc_data(n_data);
        if (!tensor->data) return LM_NOMEM(err);
        if (n_data) memcpy(tensor->data, data, n_data);
        if (release) release(owner);
    }
    *ret = lm_take(tensor);
    return LM_OK;
}

/* ---- records ------------------------------------------------------------------------------------------------------- */

static lm_status describe(const lm_tensor *tensor, bool whole, lm_arena *arena, Lensmill__NamedTensor *to,
                          lm_error *err)
{
    uint64_t *shape = lm_arena_alloc(arena, tensor->ndim, sizeof *shape);
    if (!shape) return LM_NOMEM(err);
    for (unsigned i = 0; i < tensor->ndim; i++) shape[i] = tensor->shape[i];
    if (!whole && tensor->bytes > LM_INLINE_TENSOR) {
        lm_digest *digest = lm_arena_alloc(arena, 1, sizeof *digest);
        if (!digest) return LM_NOMEM(err);
        LM_TRY(lm_tensor_digest((lm_tensor *)(uintptr_t)tensor, digest, err));
        to->digest.data = digest->bytes;
        to->digest.len = sizeof digest->bytes;
        to->dtype = (Lensmill__DType)tensor->dtype;
        to->shape = shape;
        to->n_shape = tensor->ndim;
        return LM_OK;
    }
    if (lm_tensor_is_absent(tensor))
        return LM_FAIL(err, LM_EBUG, "a tensor that is not loaded cannot be written whole");
    Lensmill__Tensor *message = lm_arena_alloc(arena, 1, sizeof *message);
    if (!message) return LM_NOMEM(err);
    lensmill__tensor__init(message);
    message->format = LM_FORMAT;
    message->dtype = (Lensmill__DType)tensor->dtype;
    message->shape = shape;
    message->n_shape = tensor->ndim;
    if (tensor->unit) message->unit = tensor->unit;
    if (tensor->axes) {
        char **axes = lm_arena_alloc(arena, LM_MAX_DIMS, sizeof *axes);
        if (!axes) return LM_NOMEM(err);
        for (const char *axis = tensor->axes; *axis && message->n_axes < LM_MAX_DIMS;) {
            size_t n = strcspn(axis, " ");
            if (n && !(axes[message->n_axes++] = lm_arena_strndup(arena, axis, n))) return LM_NOMEM(err);
            axis += n + (axis[n] == ' ');
        }
        message->axes = axes;
    }
    message->data.data = tensor->data;
    message->data.len = tensor->bytes;
    to->tensor = message;
    return LM_OK;
}

lm_status lm_record_encode(const lm_record *record, bool whole, lm_arena *arena, lm_bytes *ret, lm_error *err)
{
    size_t n_attrs = lm_record_attr_count(record), n_tensors = lm_record_tensor_count(record);
    Lensmill__Record message = LENSMILL__RECORD__INIT;
    Lensmill__Attribute *attrs = lm_arena_alloc(arena, n_attrs, sizeof *attrs);
    Lensmill__Attribute **attr_list = lm_arena_alloc(arena, n_attrs, sizeof *attr_list);
    Lensmill__NamedTensor *tensors = lm_arena_alloc(arena, n_tensors, sizeof *tensors);
    Lensmill__NamedTensor **tensor_list = lm_arena_alloc(arena, n_tensors, sizeof *tensor_list);
    if (!attrs || !attr_list || !tensors || !tensor_list) return LM_NOMEM(err);
    for (size_t i = 0; i < n_attrs; i++) {
        const lm_attr *attr = lm_record_attr_at(record, i);
        Lensmill__Attribute *to = attr_list[i] = &attrs[i];
        lensmill__attribute__init(to);
        to->name = (char *)(uintptr_t)attr->name;
        if (attr->comment) to->comment = (char *)(uintptr_t)attr->comment;
        switch (attr->value.kind) {
        case LM_KIND_NULL: break;
        case LM_KIND_BOOL:
            to->value_case = LENSMILL__ATTRIBUTE__VALUE_BOOLEAN;
            to->boolean = attr->value.boolean;
            break;
        case LM_KIND_INT:
            to->value_case = LENSMILL__ATTRIBUTE__VALUE_INTEGER;
            to->integer = attr->value.integer;
            break;
        case LM_KIND_REAL:
            to->value_case = LENSMILL__ATTRIBUTE__VALUE_REAL;
            to->real = attr->value.real;
            break;
        case LM_KIND_TEXT:
            to->value_case = LENSMILL__ATTRIBUTE__VALUE_TEXT;
            to->text = (char *)(uintptr_t)attr->value.text;
            break;
        }
    }
    for (size_t i = 0; i < n_tensors; i++) {
        const lm_named *named = lm_record_tensor_at(record, i);
        Lensmill__NamedTensor *to = tensor_list[i] = &tensors[i];
        lensmill__named_tensor__init(to);
        to->name = (char *)(uintptr_t)named->name;
        LM_TRY_IN(describe(named->tensor, whole, arena, to, err), err, "tensor \"%s\"", named->name);
    }
    message.format = LM_FORMAT;
    message.id = (char *)(uintptr_t)lm_record_id(record);
    message.n_attributes = n_attrs;
    message.attributes = attr_list;
    message.n_tensors = n_tensors;
    message.tensors = tensor_list;
    size_t size = lensmill__record__get_packed_size(&message);
    if (size > INT32_MAX)
        return LM_FAIL(err, LM_EINPUT, "record \"%s\" is larger than 2 GiB: it cannot be one message",
                       lm_record_id(record));
    uint8_t *bytes = lm_arena_data(arena, size, 1);
    if (!bytes) return LM_NOMEM(err);
    lensmill__record__pack(&message, bytes);
    *ret = (lm_bytes){bytes, size};
    return LM_OK;
}

/* protobuf-c says NULL both for bad bytes and for want of memory: the door remembers the latter. */
static void *door_alloc(void *out_of_memory, size_t n)
{
    void *p = lm_alloc_data(n);
    if (!p) *(bool *)out_of_memory = true;
    return p;
}

static void door_free(void *unused, void *p)
{
    (void)unused;
    lm_free(p);
}

static lm_status decode_tensor(const Lensmill__NamedTensor *from, lm_tensor **ret, lm_error *err)
{
    size_t shape[LM_MAX_DIMS];
    const Lensmill__Tensor *inside = from->tensor;
    size_t n = inside ? inside->n_shape : from->n_shape;
    const uint64_t *lengths = inside ? inside->shape : from->shape;
    lm_dtype dtype = (lm_dtype)(inside ? inside->dtype : from->dtype);
    if (n > LM_MAX_DIMS || !lm_dtype_size(dtype)) return damaged(err, "a tensor's type or number of axes");
    for (size_t i = 0; i < n; i++) shape[i] = lengths[i];
    if (!inside) {
        lm_digest digest;
        if (from->digest.len != sizeof digest.bytes) return damaged(err, "a tensor without data and without digest");
        memcpy(digest.bytes, from->digest.data, sizeof digest.bytes);
        return lm_tensor_absent(dtype, (unsigned)n, shape, &digest, ret, err);
    }
    if (inside->format > LM_FORMAT) return newer(err, inside->format);
    /* The payload is there: compare before anything is allocated from the shape. */
    LM_OWN(lm_tensor) measured = NULL;
    LM_TRY(lm_tensor_wrap(dtype, (unsigned)n, shape, NULL, NULL, NULL, &measured, err));
    if (measured->bytes != inside->data.len) return damaged(err, "a tensor's size does not fit its shape");
    LM_OWN(lm_tensor) tensor = NULL;
    LM_TRY(lm_tensor_new(dtype, (unsigned)n, shape, &tensor, err));
    if (tensor->bytes) memcpy(tensor->data, inside->data.data, tensor->bytes);
    LM_TRY(lm_tensor_set_unit(tensor, inside->unit, err));
    if (inside->n_axes) {
        char axes[LM_TENSOR_PREFIX];
        size_t at = 0;
        for (size_t i = 0; i < inside->n_axes; i++) {
            size_t length = strlen(inside->axes[i]);
            if (!length) continue;
            if (length + 2 > sizeof axes - at) return damaged(err, "a tensor's axis names");
            if (at) axes[at++] = ' ';
            memcpy(axes + at, inside->axes[i], length);
            at += length;
        }
        axes[at] = 0;
        LM_TRY(lm_tensor_set_axes(tensor, axes, err));
    }
    *ret = lm_take(tensor);
    return LM_OK;
}

static lm_status decode(const Lensmill__Record *message, lm_record **ret, lm_error *err)
{
    if (message->format > LM_FORMAT) return newer(err, message->format);
    LM_OWN(lm_record) record = NULL;
    LM_TRY(lm_record_new(message->id, &record, err));
    for (size_t i = 0; i < message->n_attributes; i++) {
        const Lensmill__Attribute *from = message->attributes[i];
        lm_value value = lm_null();
        switch (from->value_case) {
        case LENSMILL__ATTRIBUTE__VALUE_BOOLEAN: value = lm_bool(from->boolean != 0); break;
        case LENSMILL__ATTRIBUTE__VALUE_INTEGER: value = lm_int(from->integer); break;
        case LENSMILL__ATTRIBUTE__VALUE_REAL: value = lm_real(from->real); break;
        case LENSMILL__ATTRIBUTE__VALUE_TEXT: value = lm_text_value(from->text); break;
        default: break;
        }
        LM_TRY(lm_record_set(record, from->name, value, from->comment, err));
    }
    for (size_t i = 0; i < message->n_tensors; i++) {
        lm_tensor *tensor;
        LM_TRY_IN(decode_tensor(message->tensors[i], &tensor, err), err, "tensor \"%s\"", message->tensors[i]->name);
        LM_TRY(lm_record_put(record, message->tensors[i]->name, tensor, err));
    }
    *ret = lm_take(record);
    return LM_OK;
}

lm_status lm_record_decode(lm_bytes stored, lm_record **ret, lm_error *err)
{
    bool out_of_memory = false;
    ProtobufCAllocator door = {door_alloc, door_free, &out_of_memory};
    Lensmill__Record *message = lensmill__record__unpack(&door, stored.size, stored.data);
    if (!message) return out_of_memory ? LM_NOMEM(err) : damaged(err, "not a record");
    lm_status status = decode(message, ret, err);
    lensmill__record__free_unpacked(message, &door);
    return status;
}
