/*
 * The event log: one file that QEMU writes and the host maps.
 *
 * The file belongs to the host, not to the VM: it is not visible to the guest
 * and no part of it is migrated.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/crc32c.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qom/object_interfaces.h"
#include "hw/core/cpu.h"
#include "hw/misc/shirq-log.h"
#include "hw/misc/shirq-rewind.h"
#include "system/runstate.h"
#include "system/tcg.h"
#include "cpu.h"

#define TYPE_SHIRQ_LOG "shirq-log"
OBJECT_DECLARE_SIMPLE_TYPE(ShirqLog, SHIRQ_LOG)

#define DEFAULT_ENTRIES     (1 * MiB)
#define MAX_ENTRIES         (1 * GiB)
/* Bytes of the file to allocate on the disk at a time. */
#define RESERVED_ENTRIES    (256 * KiB / sizeof(ShirqLogEntry))

struct ShirqLog {
    Object parent_obj;

    char *path;
    uint64_t entries;
    uint64_t reserved;          /* entries allocated on the disk */
    bool on;

    int fd;
    size_t size;
    ShirqLogHeader *header;
    ShirqLogEntry *entry;

    /* KVM's split irqchip ends interrupts without the BQL. */
    QemuMutex lock;
    /*
     * Maps a device, or the name of an interrupt controller, to its slot in the
     * header's table, plus one. Keys are compared as pointers.
     */
    GHashTable *slots;
    DeviceListener listener;
    bool stating;
};

ShirqLog *shirq_log;
/* The log object, also while it is switched off. */
static ShirqLog *the_log;

static NotifierList state_notifiers =
    NOTIFIER_LIST_INITIALIZER(state_notifiers);

void shirq_log_add_state_notifier(Notifier *notifier)
{
    notifier_list_add(&state_notifiers, notifier);
}

/* The name of @dev in the log, unique in the VM. */
static char *name_of(DeviceState *dev)
{
    g_autofree char *path = dev->id ? NULL :
        object_get_canonical_path(OBJECT(dev));
    const char *name = dev->id ?: path ?: object_get_typename(OBJECT(dev));
    const uint8_t *bytes = (const uint8_t *)name;
    size_t length = strlen(name);

    if (length < SHIRQ_LOG_NAME_SIZE) {
        return g_strdup(name);
    }
    return g_strdup_printf("%.*s~%08x", SHIRQ_LOG_NAME_SIZE - 10, name,
                           crc32c(0xffffffff, bytes, length));
}

/*
 * Return the slot of @name, a new one if there is none; -1 if the table is full.
 * A device that is plugged again under the same id gets its former slot.
 */
static int find_slot(ShirqLog *log, const void *key, const char *name)
{
    ShirqLogHeader *header = log->header;
    uint32_t used = le32_to_cpu(header->devices);
    uint32_t slot;

    for (slot = 0; slot < used; slot++) {
        if (!strcmp(header->device[slot], name)) {
            break;
        }
    }
    if (slot == SHIRQ_LOG_DEVICES) {
        return -1;
    }
    if (slot == used) {
        strcpy(header->device[slot], name);
        qatomic_store_release(&header->devices, cpu_to_le32(used + 1));
    }
    g_hash_table_insert(log->slots, (void *)key, GUINT_TO_POINTER(slot + 1));
    return slot;
}

/* The slot of a device or, if @dev is NULL, of the controller @controller. */
static int slot_of(ShirqLog *log, DeviceState *dev, const char *controller)
{
    const void *key = dev ? (const void *)dev : controller;
    g_autofree char *name = NULL;
    guint known;

    if (!key) {
        return SHIRQ_LOG_VM;
    }
    known = GPOINTER_TO_UINT(g_hash_table_lookup(log->slots, key));
    if (known) {
        return known - 1;
    }
    name = dev ? name_of(dev) : g_strdup(controller);
    return find_slot(log, key, name);
}

/* Forget the device: another device may get its address. */
static void forget_device(DeviceListener *listener, DeviceState *dev)
{
    ShirqLog *log = container_of(listener, ShirqLog, listener);

    QEMU_LOCK_GUARD(&log->lock);
    g_hash_table_remove(log->slots, dev);
}

/*
 * With icount, a vCPU's thread also runs timers, while the vCPU is not running.
 */
static CPUState *running_cpu(void)
{
    return current_cpu && current_cpu->running ? current_cpu : NULL;
}

static void set_cause(ShirqLogEntry *entry, CPUState *cpu)
{
    entry->vcpu = SHIRQ_LOG_NONE;
    entry->ring = SHIRQ_LOG_NONE;
    if (cpu && cpu->cpu_index < SHIRQ_LOG_NONE) {
        entry->vcpu = cpu->cpu_index;
#ifdef TARGET_I386
        if (tcg_enabled()) {
            entry->ring = X86_CPU(cpu)->env.hflags & HF_CPL_MASK;
        }
#endif
    }
}

/*
 * Mute the log while state is being loaded: devices pass through intermediate
 * states that the VM never had.
 */
static bool is_muted(ShirqLog *log)
{
    return shirq_rewinding ||
           (!log->stating && (runstate_check(RUN_STATE_INMIGRATE) ||
                              runstate_check(RUN_STATE_RESTORE_VM)));
}

/*
 * Allocate a part of the file on the disk. Writing to a page of the mapping
 * that is not allocated can raise SIGBUS. Returns 0 or an errno.
 */
static int reserve(ShirqLog *log, uint64_t offset, uint64_t size)
{
    int error;

    do {
        error = posix_fallocate(log->fd, offset, size);
    } while (error == EINTR);
    return error;
}

/*
 * Allocate room for more entries; if that fails, the log is full from now on.
 */
static void reserve_entries(ShirqLog *log)
{
    uint64_t more = MIN(RESERVED_ENTRIES, log->entries - log->reserved);
    int error = reserve(log, SHIRQ_LOG_HEADER_SIZE +
                        log->reserved * sizeof(ShirqLogEntry),
                        more * sizeof(ShirqLogEntry));

    if (!error) {
        log->reserved += more;
        return;
    }
    error_report("shirq-log: '%s': no room for more than %" PRIu64 " entries: "
                 "%s; what happens from now on is counted and not logged",
                 log->path, log->reserved, strerror(error));
    log->entries = log->reserved;
    qatomic_set(&log->header->capacity, cpu_to_le64(log->entries));
}

static void append(DeviceState *dev, const char *controller, ShirqLogKind kind,
                   uint8_t space, uint8_t width, uint64_t offset,
                   uint64_t value, CPUState *cpu)
{
    ShirqLog *log = the_log;
    ShirqLogHeader *header = log->header;
    ShirqLogEntry *entry;
    uint64_t head;
    int slot;

    if (is_muted(log)) {
        return;
    }

    QEMU_LOCK_GUARD(&log->lock);
    head = le64_to_cpu(header->head);
    slot = slot_of(log, dev, controller);
    if (head == log->reserved && head < log->entries) {
        reserve_entries(log);
    }
    if (head == log->entries || slot < 0) {
        qatomic_set(&header->dropped,
                    cpu_to_le64(le64_to_cpu(header->dropped) + 1));
        return;
    }
    entry = &log->entry[head];
    entry->time_ns = cpu_to_le64(qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL));
    entry->kind = kind;
    entry->space = space;
    entry->width = width;
    entry->device = cpu_to_le16(slot);
    entry->offset = cpu_to_le64(offset);
    entry->value = cpu_to_le64(value);
    set_cause(entry, cpu);
    qatomic_store_release(&header->head, cpu_to_le64(head + 1));
}

void shirq_log_append(DeviceState *dev, ShirqLogKind kind, uint8_t space,
                      uint8_t width, uint64_t offset, uint64_t value)
{
    append(dev, NULL, kind, space, width, offset, value, running_cpu());
}

void shirq_log_controller(const char *name, ShirqLogKind kind, uint8_t width,
                          uint64_t input, uint64_t value)
{
    append(NULL, name, kind, 0, width, input, value, running_cpu());
}

void shirq_log_where(DeviceState *dev)
{
    CPUState *cpu;

    if (!shirq_log_enabled()) {
        return;
    }
    CPU_FOREACH(cpu) {
        append(dev, NULL, SHIRQ_LOG_WHERE, 0, 0, 0, cpu->cc->get_pc(cpu),
               cpu);
    }
}

void shirq_log_turn(CPUState *from, unsigned to, ShirqTurnReason reason)
{
    if (shirq_log_enabled()) {
        append(NULL, NULL, SHIRQ_LOG_TURN, 0, 0, reason, to, from);
    }
}

/*
 * Log the beginning of a history: its entry, then all state that differs from
 * the reset state.
 */
static void begin(ShirqLog *log, ShirqLogKind kind, uint64_t value)
{
    log->stating = true;
    shirq_log_append(NULL, kind, 0, 0, 0, value);
    notifier_list_notify(&state_notifiers, NULL);
    log->stating = false;
}

void shirq_log_restored(void)
{
    ShirqLogHeader *header;
    uint64_t epoch;

    if (!the_log) {
        return;
    }
    header = the_log->header;
    epoch = le64_to_cpu(header->epoch) + 1;
    qatomic_set(&header->epoch, cpu_to_le64(epoch));
    if (shirq_log_enabled()) {
        begin(shirq_log, SHIRQ_LOG_RESTORED, epoch);
    }
}

void shirq_log_place(ShirqLogPlace *place)
{
    memset(place, 0, sizeof(*place));
    if (the_log) {
        ShirqLogHeader *header = the_log->header;

        place->head = le64_to_cpu(header->head);
        place->epoch = le64_to_cpu(header->epoch);
        place->dropped = le64_to_cpu(header->dropped);
        place->devices = le32_to_cpu(header->devices);
        place->on = the_log->on;
    }
}

void shirq_log_return(const ShirqLogPlace *place)
{
    ShirqLogHeader *header;
    uint32_t generation;

    if (!the_log) {
        return;
    }
    header = the_log->header;
    generation = le32_to_cpu(header->generation) + 1;
    /* First, so that a reader sees that what it is reading is no longer. */
    qatomic_set(&header->generation, cpu_to_le32(generation));
    smp_wmb();
    qatomic_set(&header->head, cpu_to_le64(place->head));
    qatomic_set(&header->epoch, cpu_to_le64(place->epoch));
    qatomic_set(&header->dropped, cpu_to_le64(place->dropped));
    qatomic_set(&header->devices, cpu_to_le32(place->devices));
    memset(header->device[place->devices], 0,
           sizeof(header->device[0]) * (SHIRQ_LOG_DEVICES - place->devices));
    g_hash_table_remove_all(the_log->slots);
    the_log->on = place->on;
    qatomic_set(&shirq_log, place->on ? the_log : NULL);
    /* Who logs changes only learns the present levels; nothing is logged yet. */
    notifier_list_notify(&state_notifiers, NULL);
}

static bool map_file(ShirqLog *log, Error **errp)
{
    ShirqLogHeader *header;
    int error;

    log->fd = qemu_create(log->path, O_RDWR, 0644, errp);
    if (log->fd < 0) {
        error_prepend(errp, "shirq-log: property 'path': ");
        return false;
    }
    if (qemu_lock_fd(log->fd, 0, 1, true) < 0) {
        error_setg(errp, "shirq-log: property 'path': '%s' is the log of "
                   "another VM; every VM needs a file of its own", log->path);
        return false;
    }
    log->size = SHIRQ_LOG_HEADER_SIZE + log->entries * sizeof(ShirqLogEntry);
    if (ftruncate(log->fd, 0) < 0 || ftruncate(log->fd, log->size) < 0) {
        error_setg_errno(errp, errno, "shirq-log: property 'path': cannot make "
                         "'%s' a file of %zu bytes", log->path, log->size);
        return false;
    }
    error = reserve(log, 0, SHIRQ_LOG_HEADER_SIZE);
    if (error) {
        error_setg_errno(errp, error, "shirq-log: property 'path': no room for "
                         "'%s'", log->path);
        return false;
    }
    header = mmap(NULL, log->size, PROT_READ | PROT_WRITE, MAP_SHARED,
                  log->fd, 0);
    if (header == MAP_FAILED) {
        error_setg_errno(errp, errno, "shirq-log: cannot map '%s'", log->path);
        return false;
    }
    memcpy(header->magic, SHIRQ_LOG_MAGIC, sizeof(header->magic));
    header->version = cpu_to_le32(SHIRQ_LOG_VERSION);
    header->entry_size = cpu_to_le32(sizeof(ShirqLogEntry));
    header->capacity = cpu_to_le64(log->entries);
    log->header = header;
    log->entry = (void *)header + SHIRQ_LOG_HEADER_SIZE;
    return true;
}

static void shirq_log_complete(UserCreatable *uc, Error **errp)
{
    ShirqLog *log = SHIRQ_LOG(uc);

    if (the_log) {
        error_setg(errp, "shirq-log: the VM has one already, '%s': "
                   "a VM can have only one",
                   object_get_canonical_path_component(OBJECT(the_log)));
        return;
    }
    if (!log->path || !*log->path) {
        error_setg(errp, "shirq-log: property 'path' must name a file");
        return;
    }
    if (!map_file(log, errp)) {
        return;
    }
    log->listener.unrealize = forget_device;
    device_listener_register(&log->listener);
    the_log = log;
    if (!log->on) {
        return;
    }
    qatomic_store_release(&shirq_log, log);
    if (!is_muted(log)) {
        begin(log, SHIRQ_LOG_START, 0);
    }
}

/* Keep the log in use: its writers do not hold a reference. */
static bool shirq_log_can_be_deleted(UserCreatable *uc)
{
    return the_log != SHIRQ_LOG(uc);
}

static char *get_path(Object *obj, Error **errp)
{
    return g_strdup(SHIRQ_LOG(obj)->path);
}

static void set_path(Object *obj, const char *path, Error **errp)
{
    ShirqLog *log = SHIRQ_LOG(obj);

    if (log->header) {
        error_setg(errp, "shirq-log: property 'path' is fixed once the log is "
                   "open");
        return;
    }
    g_free(log->path);
    log->path = g_strdup(path);
}

static void get_entries(Object *obj, Visitor *v, const char *name,
                        void *opaque, Error **errp)
{
    visit_type_size(v, name, &SHIRQ_LOG(obj)->entries, errp);
}

static void set_entries(Object *obj, Visitor *v, const char *name,
                        void *opaque, Error **errp)
{
    ShirqLog *log = SHIRQ_LOG(obj);
    uint64_t entries;

    if (!visit_type_size(v, name, &entries, errp)) {
        return;
    }
    if (log->header) {
        error_setg(errp, "shirq-log: property 'entries' is fixed once the log "
                   "is open");
    } else if (!entries || entries > MAX_ENTRIES) {
        error_setg(errp, "shirq-log: property 'entries' must be 1 to %" PRIu64
                   ", not %" PRIu64, (uint64_t)MAX_ENTRIES, entries);
    } else {
        log->entries = entries;
    }
}

static void get_now(Object *obj, Visitor *v, const char *name, void *opaque,
                    Error **errp)
{
    uint64_t now = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);

    visit_type_uint64(v, name, &now, errp);
}

static bool get_on(Object *obj, Error **errp)
{
    return SHIRQ_LOG(obj)->on;
}

static void set_on(Object *obj, bool on, Error **errp)
{
    ShirqLog *log = SHIRQ_LOG(obj);

    if (on != log->on && the_log == log) {
        if (on) {
            qatomic_store_release(&shirq_log, log);
            if (!is_muted(log)) {
                begin(log, SHIRQ_LOG_ON, 0);
            }
        } else {
            shirq_log_event(NULL, SHIRQ_LOG_OFF, 0, 0);
            qatomic_set(&shirq_log, NULL);
        }
    }
    log->on = on;
}

static void shirq_log_init(Object *obj)
{
    ShirqLog *log = SHIRQ_LOG(obj);

    log->entries = DEFAULT_ENTRIES;
    log->on = true;
    log->fd = -1;
    log->slots = g_hash_table_new(NULL, NULL);
    qemu_mutex_init(&log->lock);
}

static void shirq_log_finalize(Object *obj)
{
    ShirqLog *log = SHIRQ_LOG(obj);

    if (the_log == log) {
        the_log = NULL;
        qatomic_set(&shirq_log, NULL);
        device_listener_unregister(&log->listener);
    }
    if (log->header) {
        munmap(log->header, log->size);
    }
    if (log->fd >= 0) {
        close(log->fd);
    }
    qemu_mutex_destroy(&log->lock);
    g_hash_table_destroy(log->slots);
    g_free(log->path);
}

static void shirq_log_class_init(ObjectClass *klass, void *data)
{
    UserCreatableClass *ucc = USER_CREATABLE_CLASS(klass);

    ucc->complete = shirq_log_complete;
    ucc->can_be_deleted = shirq_log_can_be_deleted;
    object_class_property_add_str(klass, "path", get_path, set_path);
    object_class_property_set_description(klass, "path",
        "file to write; it is created or emptied");
    object_class_property_add(klass, "entries", "size", get_entries,
                              set_entries, NULL, NULL);
    object_class_property_set_description(klass, "entries",
        "entries that fit, 1 to 1073741824");
    object_class_property_add(klass, "now", "uint64", get_now, NULL, NULL,
                              NULL);
    object_class_property_set_description(klass, "now",
        "the virtual clock in ns, by which entries are stamped");
    object_class_property_add_bool(klass, "on", get_on, set_on);
    object_class_property_set_description(klass, "on",
        "whether it logs; can change while the VM runs");
}

static const TypeInfo shirq_log_types[] = {
    {
        .name = TYPE_SHIRQ_LOG,
        .parent = TYPE_OBJECT,
        .instance_size = sizeof(ShirqLog),
        .instance_init = shirq_log_init,
        .instance_finalize = shirq_log_finalize,
        .class_init = shirq_log_class_init,
        .interfaces = (InterfaceInfo[]) {
            { TYPE_USER_CREATABLE },
            { }
        },
    },
};

DEFINE_TYPES(shirq_log_types)
