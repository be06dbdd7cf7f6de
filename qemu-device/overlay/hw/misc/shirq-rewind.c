/*
 * Rewinding: a VM returns to a savepoint inside its own process.
 *
 * A savepoint is a copy of the devices' state and of the pages that differ from
 * the savepoint before it; the first has all pages. QEMU's dirty log tells
 * which pages have changed since the last savepoint. To rewind is to reset the
 * VM, copy these pages back, and load the devices' state. The savepoints form a
 * stack: those after the one that the VM returns to are forgotten.
 *
 * All functions run in the main thread with the BQL.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <sys/mman.h>
#include "qemu/bitmap.h"
#include "qemu/guest-random.h"
#include "qemu/main-loop.h"
#include "qemu/seqlock.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-misc.h"
#include "chardev/char-socket.h"
#include "exec/cputlb.h"
#include "exec/exec-all.h"
#include "exec/memory.h"
#include "exec/ram_addr.h"
#include "exec/ramblock.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "hw/misc/shirq-log.h"
#include "hw/misc/shirq-rewind.h"
#include "hw/qdev-core.h"
#include "io/channel-buffer.h"
#include "migration/global_state.h"
#include "migration/misc.h"
#include "net/net.h"
#include "system/block-backend.h"
#include "system/cpu-timers.h"
#include "system/cpu-timers-internal.h"
#include "system/cpus.h"
#include "system/hw_accel.h"
#include "system/reset.h"
#include "system/runstate.h"
#include "../../migration/migration.h"
#include "../../migration/qemu-file.h"
#include "../../migration/savevm.h"

#define PAGE            TARGET_PAGE_SIZE
/*
 * A block up to this size is compared as a whole: a reset writes ROMs and tables
 * without a note in the dirty log.
 */
#define SMALL           (4 * MiB)

typedef struct Savepoint {
    /*
     * For each RAM block a mapping of its size. Only the pages in @has have
     * been copied; @has is NULL if that is all pages.
     */
    uint8_t **copy;
    unsigned long **has;
    uint8_t *state;             /* of the process, then of the devices */
    size_t state_size;
    char *timers;
    GPtrArray *random;          /* of the main thread, then of each vCPU */
    ShirqLogPlace log;
} Savepoint;

typedef struct HostState {
    const VMStateDescription *vmsd;
    void *opaque;
    QTAILQ_ENTRY(HostState) next;
} HostState;

bool shirq_rewinding;

static QTAILQ_HEAD(, HostState) host_states =
    QTAILQ_HEAD_INITIALIZER(host_states);

/* Of each RAM block that is part of the VM's state. */
static GPtrArray *blocks;
static GArray *lengths;
/* The character devices that devices use and that are sockets. */
static GPtrArray *sockets;
static GPtrArray *savepoints;
/* A device that was plugged or unplugged since the first savepoint. */
static char *plugged;

void shirq_rewind_register(const VMStateDescription *vmsd, void *opaque)
{
    HostState *state = g_new0(HostState, 1);

    state->vmsd = vmsd;
    state->opaque = opaque;
    QTAILQ_INSERT_TAIL(&host_states, state, next);
}

void shirq_rewind_unregister(void *opaque)
{
    HostState *state, *next;

    QTAILQ_FOREACH_SAFE(state, &host_states, next, next) {
        if (state->opaque == opaque) {
            QTAILQ_REMOVE(&host_states, state, next);
            g_free(state);
        }
    }
}

/* -- RAM ------------------------------------------------------------------- */

static RAMBlock *block(int number)
{
    return g_ptr_array_index(blocks, number);
}

static size_t length_of(int number)
{
    return g_array_index(lengths, uint64_t, number);
}

static size_t pages_of(int number)
{
    return length_of(number) / PAGE;
}

static void *map(size_t size, int fd, off_t offset, Error **errp)
{
    int flags = MAP_PRIVATE | MAP_NORESERVE | (fd < 0 ? MAP_ANONYMOUS : 0);
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, offset);

    if (at == MAP_FAILED) {
        error_setg_errno(errp, errno, "cannot map %zu bytes for a savepoint",
                         size);
        return NULL;
    }
    return at;
}

/* A page of the state that savepoint @number has saved. */
static const uint8_t *page_at(int number, int which, size_t page)
{
    for (;; number--) {
        Savepoint *s = g_ptr_array_index(savepoints, number);

        if (!s->has || test_bit(page, s->has[which])) {
            return s->copy[which] + page * PAGE;
        }
    }
}

/* The first page from @page on that has changed; their number if none has. */
static size_t next_dirty(int which, size_t page)
{
    size_t first = block(which)->offset >> TARGET_PAGE_BITS;
    size_t end = first + pages_of(which);
    DirtyMemoryBlocks *dirty =
        qatomic_rcu_read(&ram_list.dirty_memory[DIRTY_MEMORY_MIGRATION]);

    for (page += first; page < end; page = QEMU_ALIGN_UP(page + 1,
                                               DIRTY_MEMORY_BLOCK_SIZE)) {
        size_t start = QEMU_ALIGN_DOWN(page, DIRTY_MEMORY_BLOCK_SIZE);
        size_t stop = MIN(end - start, DIRTY_MEMORY_BLOCK_SIZE);
        size_t hit = find_next_bit(dirty->blocks[page /
                                                 DIRTY_MEMORY_BLOCK_SIZE],
                                   stop, page - start);

        if (hit < stop) {
            return start + hit - first;
        }
    }
    return pages_of(which);
}

static void clear_dirty(void)
{
    int i;

    for (i = 0; i < blocks->len; i++) {
        cpu_physical_memory_test_and_clear_dirty(block(i)->offset,
                                                 length_of(i),
                                                 DIRTY_MEMORY_MIGRATION);
    }
}

/*
 * Copy the pages of @rb, a private mapping of a file, that are not the file's.
 * Returns false if the kernel does not tell which these are.
 */
static bool copy_private(RAMBlock *rb, size_t pages, uint8_t *to)
{
    g_autofree uint64_t *entry = g_new(uint64_t, pages);
    uint64_t first = (uintptr_t)rb->host / PAGE;
    int fd = qemu_open_old("/proc/self/pagemap", O_RDONLY);
    size_t size = pages * sizeof(*entry);
    size_t page;
    ssize_t got;

    if (fd < 0) {
        return false;
    }
    got = pread(fd, entry, size, first * sizeof(*entry));
    close(fd);
    if (got != size) {
        return false;
    }
    for (page = 0; page < pages; page++) {
        /* Bits 62 and 63: swapped, present; 61: of a file. */
        if (entry[page] >> 62 && !extract64(entry[page], 61, 1)) {
            memcpy(to + page * PAGE, rb->host + page * PAGE, PAGE);
        }
    }
    return true;
}

static bool copy_all(Savepoint *s, int which, Error **errp)
{
    RAMBlock *rb = block(which);
    size_t size = length_of(which);
    bool of_file = rb->fd >= 0 && !qemu_ram_is_shared(rb);

    /* Pages that the VM has not written need no memory if a file has them. */
    s->copy[which] = map(size, of_file ? rb->fd : -1,
                         of_file ? rb->fd_offset : 0, errp);
    if (!s->copy[which]) {
        return false;
    }
    if (!of_file || !copy_private(rb, pages_of(which), s->copy[which])) {
        memcpy(s->copy[which], rb->host, size);
    }
    return true;
}

static bool copy_changed(Savepoint *s, int which, Error **errp)
{
    size_t pages = pages_of(which);
    size_t page;

    s->copy[which] = map(length_of(which), -1, 0, errp);
    if (!s->copy[which]) {
        return false;
    }
    s->has[which] = bitmap_new(pages);
    for (page = next_dirty(which, 0); page < pages;
         page = next_dirty(which, page + 1)) {
        memcpy(s->copy[which] + page * PAGE, block(which)->host + page * PAGE,
               PAGE);
        set_bit(page, s->has[which]);
    }
    return true;
}

static void restore_page(int number, int which, size_t page,
                         ShirqRewound *done)
{
    RAMBlock *rb = block(which);
    uint8_t *to = rb->host + page * PAGE;
    const uint8_t *from = page_at(number, which, page);
    ram_addr_t address = rb->offset + page * PAGE;

    if (!memcmp(to, from, PAGE)) {
        return;
    }
    if (!cpu_physical_memory_get_dirty_flag(address, DIRTY_MEMORY_CODE)) {
        tb_invalidate_phys_range(address, address + PAGE - 1);
        done->code_pages++;
    }
    memcpy(to, from, PAGE);
    done->pages++;
}

static void restore_ram(int number, ShirqRewound *done)
{
    int which, later;

    RCU_READ_LOCK_GUARD();
    for (which = 0; which < blocks->len; which++) {
        size_t pages = pages_of(which);
        size_t page;

        if (length_of(which) <= SMALL) {
            for (page = 0; page < pages; page++) {
                restore_page(number, which, page, done);
            }
            continue;
        }
        for (page = next_dirty(which, 0); page < pages;
             page = next_dirty(which, page + 1)) {
            restore_page(number, which, page, done);
        }
        for (later = number + 1; later < savepoints->len; later++) {
            Savepoint *s = g_ptr_array_index(savepoints, later);

            for (page = find_first_bit(s->has[which], pages); page < pages;
                 page = find_next_bit(s->has[which], pages, page + 1)) {
                restore_page(number, which, page, done);
            }
        }
    }
}

/* -- the state of process and devices -------------------------------------- */

/* The state of the process and of the devices; NULL on an error. */
static uint8_t *save_state(size_t *size, Error **errp)
{
    g_autoptr(QIOChannelBuffer) buffer = qio_channel_buffer_new(128 * KiB);
    QEMUFile *f = qemu_file_new_output(QIO_CHANNEL(buffer));
    uint8_t *data = NULL;
    HostState *state;
    int error = 0;

    QTAILQ_FOREACH(state, &host_states, next) {
        error = error ?: vmstate_save_state(f, state->vmsd, state->opaque,
                                            NULL);
    }
    error = error ?: qemu_save_device_state(f);
    error = error ?: qemu_fflush(f);
    if (error) {
        error_setg_errno(errp, -error, "cannot save the devices' state");
    } else {
        /* Closing the file would free the data. */
        data = g_steal_pointer(&buffer->data);
        *size = buffer->usage;
    }
    qemu_fclose(f);
    return data;
}

static int load_sections(QEMUFile *f)
{
    HostState *state;
    int error;

    QTAILQ_FOREACH(state, &host_states, next) {
        error = vmstate_load_state(f, state->vmsd, state->opaque,
                                   state->vmsd->version_id);
        if (error) {
            return error;
        }
    }
    /* Magic and version; the devices' part was written by this process. */
    qemu_get_be32(f);
    qemu_get_be32(f);
    cpu_synchronize_all_pre_loadvm();
    return qemu_load_device_state(f);
}

static int load_state(Savepoint *s)
{
    g_autoptr(QIOChannelBuffer) buffer = qio_channel_buffer_new(0);
    QEMUFile *f = qemu_file_new_input(QIO_CHANNEL(buffer));
    int error;

    g_free(buffer->data);
    buffer->data = s->state;
    buffer->usage = buffer->capacity = s->state_size;
    error = load_sections(f);
    /* Closing the file would free the data. */
    buffer->data = NULL;
    qemu_fclose(f);
    return error;
}

static void save_random(CPUState *cpu, run_on_cpu_data data)
{
    g_ptr_array_add(data.host_ptr, qemu_guest_random_save());
}

static void restore_random(CPUState *cpu, run_on_cpu_data data)
{
    qemu_guest_random_restore(data.host_ptr);
}

static GPtrArray *random_of_all(void)
{
    GPtrArray *all = g_ptr_array_new();
    CPUState *cpu;

    g_ptr_array_add(all, qemu_guest_random_save());
    CPU_FOREACH(cpu) {
        run_on_cpu(cpu, save_random, RUN_ON_CPU_HOST_PTR(all));
    }
    return all;
}

static void restore_random_of_all(GPtrArray *all)
{
    int number = 0;
    CPUState *cpu;

    qemu_guest_random_restore(g_ptr_array_index(all, number++));
    CPU_FOREACH(cpu) {
        GRand *saved = g_ptr_array_index(all, number++);

        if (saved) {
            run_on_cpu(cpu, restore_random, RUN_ON_CPU_HOST_PTR(saved));
        }
    }
}

/* -- the outside ----------------------------------------------------------- */

static int add_socket(Object *obj, void *opaque)
{
    g_autofree char *name = NULL;
    Chardev *chr;

    if (object_dynamic_cast(obj, TYPE_DEVICE) &&
        object_property_find(obj, "chardev")) {
        name = object_property_get_str(obj, "chardev", NULL);
        chr = name && *name ? qemu_chr_find(name) : NULL;
        if (chr && object_dynamic_cast(OBJECT(chr), TYPE_CHARDEV_SOCKET)) {
            g_ptr_array_add(sockets, chr);
        }
    }
    return 0;
}

/*
 * Read and drop what was sent to the guest and not received. Returns the number
 * of bytes.
 */
static uint64_t drain_sockets(void)
{
    uint64_t drained = 0;
    char data[4096];
    ssize_t got;
    int i;

    for (i = 0; i < sockets->len; i++) {
        SocketChardev *s = SOCKET_CHARDEV(g_ptr_array_index(sockets, i));

        while (s->ioc &&
               (got = qio_channel_read(s->ioc, data, sizeof(data), NULL)) > 0) {
            drained += got;
        }
    }
    return drained;
}

/* Whether nothing is on its way to the guest: no savepoint would have it. */
static bool check_sockets(Error **errp)
{
    int i;

    for (i = 0; i < sockets->len; i++) {
        SocketChardev *s = SOCKET_CHARDEV(g_ptr_array_index(sockets, i));
        int waiting = 0;

        if (s->sioc && !ioctl(s->sioc->fd, FIONREAD, &waiting) && waiting) {
            error_setg(errp, "%d bytes for '%s' have not been received by the "
                       "guest, and no savepoint has them: let the guest read "
                       "them first", waiting, CHARDEV(s)->label);
            return false;
        }
    }
    return true;
}

static void purge_packets(void)
{
    NetClientState *nc;

    QTAILQ_FOREACH(nc, &net_clients, next) {
        qemu_purge_queued_packets(nc);
        /* It waits for a packet that is no longer in the queue. */
        nc->receive_disabled = 0;
    }
}

static void note_plug(DeviceListener *listener, DeviceState *dev)
{
    if (!plugged) {
        plugged = dev->id ? g_strdup(dev->id) :
            object_get_canonical_path(OBJECT(dev));
    }
}

static DeviceListener plug_listener = {
    .realize = note_plug,
    .unrealize = note_plug,
};

static int find_unplugging(Object *obj, void *opaque)
{
    DeviceState *dev = (DeviceState *)object_dynamic_cast(obj, TYPE_DEVICE);

    if (dev && dev->pending_deleted_event) {
        *(const char **)opaque = dev->id;
        return 1;
    }
    return 0;
}

/* Whether a savepoint can hold all of the VM's state. */
static bool check_machine(Error **errp)
{
    Object *peripherals = object_resolve_path("/machine/peripheral", NULL);
    const char *unplugging = NULL;
    BlockBackend *blk;

    if (migration_is_running() || runstate_check(RUN_STATE_INMIGRATE)) {
        error_setg(errp, "the VM is being migrated: wait until that has ended");
        return false;
    }
    if (savepoints && migrate_get_current()->state != MIGRATION_STATUS_NONE) {
        error_setg(errp, "the VM was migrated, and the dirty log does not know "
                   "what has changed since the savepoint: start another VM");
        return false;
    }
    object_child_foreach(peripherals, find_unplugging, &unplugging);
    if (unplugging) {
        error_setg(errp, "'%s' is being unplugged: wait until that has ended",
                   unplugging);
        return false;
    }
    for (blk = blk_all_next(NULL); blk; blk = blk_all_next(blk)) {
        if (blk_is_inserted(blk) && blk_is_writable(blk)) {
            error_setg(errp, "the contents of '%s' are not part of a savepoint:"
                       " give the VM only drives with readonly=on",
                       blk_name(blk));
            return false;
        }
    }
    if (plugged) {
        error_setg(errp, "'%s' was plugged or unplugged since the first "
                   "savepoint, and no savepoint has this: start another VM",
                   plugged);
        return false;
    }
    return true;
}

/* -- savepoints ------------------------------------------------------------ */

static void free_random(gpointer random)
{
    if (random) {
        g_rand_free(random);
    }
}

static void free_savepoint(gpointer opaque)
{
    Savepoint *s = opaque;
    int which;

    for (which = 0; which < blocks->len; which++) {
        if (s->copy[which]) {
            munmap(s->copy[which], length_of(which));
        }
        if (s->has) {
            g_free(s->has[which]);
        }
    }
    if (s->random) {
        g_ptr_array_foreach(s->random, (GFunc)free_random, NULL);
        g_ptr_array_free(s->random, true);
    }
    g_free(s->copy);
    g_free(s->has);
    g_free(s->state);
    g_free(s->timers);
    g_free(s);
}

/* Before the first savepoint: find what it consists of. */
static bool begin(Error **errp)
{
    RAMBlock *rb;

    if (!memory_global_dirty_log_start(GLOBAL_DIRTY_LIMIT, errp)) {
        return false;
    }
    blocks = g_ptr_array_new();
    lengths = g_array_new(false, false, sizeof(uint64_t));
    sockets = g_ptr_array_new();
    savepoints = g_ptr_array_new_with_free_func(free_savepoint);
    WITH_RCU_READ_LOCK_GUARD() {
        RAMBLOCK_FOREACH(rb) {
            if (qemu_ram_is_migratable(rb)) {
                uint64_t length = rb->used_length;

                g_ptr_array_add(blocks, rb);
                g_array_append_val(lengths, length);
            }
        }
    }
    object_child_foreach_recursive(object_get_root(), add_socket, NULL);
    /* A state of a VM that was never migrated would lack it, and be refused. */
    global_state_store();
    /* It is called for each device that exists, too. */
    device_listener_register(&plug_listener);
    g_clear_pointer(&plugged, g_free);
    return true;
}

static bool fill(Savepoint *s, Error **errp)
{
    bool first = !savepoints->len;
    int which;

    s->copy = g_new0(uint8_t *, blocks->len);
    s->has = first ? NULL : g_new0(unsigned long *, blocks->len);
    WITH_RCU_READ_LOCK_GUARD() {
        for (which = 0; which < blocks->len; which++) {
            if (!(first ? copy_all : copy_changed)(s, which, errp)) {
                return false;
            }
        }
    }
    s->state = save_state(&s->state_size, errp);
    if (!s->state) {
        return false;
    }
    s->timers = qemu_timers_describe(QEMU_CLOCK_VIRTUAL);
    s->random = random_of_all();
    shirq_log_place(&s->log);
    return true;
}

static void stop_vm(void)
{
    if (runstate_is_running() || runstate_check(RUN_STATE_SUSPENDED)) {
        vm_stop(RUN_STATE_PAUSED);
    }
}

ShirqSavepoint *qmp_shirq_savepoint(Error **errp)
{
    ShirqSavepoint *made;
    Savepoint *s;
    CPUState *cpu;

    if (!check_machine(errp)) {
        return NULL;
    }
    if (runstate_needs_reset()) {
        error_setg(errp, "the guest has ended: rewind to an earlier savepoint");
        return NULL;
    }
    stop_vm();
    if (!savepoints && !begin(errp)) {
        return NULL;
    }
    if (!check_sockets(errp)) {
        return NULL;
    }
    memory_global_dirty_log_sync(false);
    s = g_new0(Savepoint, 1);
    if (!fill(s, errp)) {
        free_savepoint(s);
        return NULL;
    }
    g_ptr_array_add(savepoints, s);
    clear_dirty();
    /* The VM goes on as it will after a rewind, which empties the TLBs. */
    if (icount_enabled()) {
        CPU_FOREACH(cpu) {
            tlb_reset(cpu);
        }
    }
    made = g_new0(ShirqSavepoint, 1);
    made->savepoint = savepoints->len - 1;
    return made;
}

/* The number of the requested savepoint, the last one by default, or -1. */
static int chosen(bool has_number, int64_t number, Error **errp)
{
    int count = savepoints ? savepoints->len : 0;

    if (!count) {
        error_setg(errp, "there is no savepoint: make one by shirq-savepoint");
        return -1;
    }
    if (has_number && (number < 0 || number >= count)) {
        error_setg(errp, "there is no savepoint %" PRId64 ": there are 0 to %d",
                   number, count - 1);
        return -1;
    }
    return has_number ? number : count - 1;
}

static bool check_lengths(Error **errp)
{
    int i;

    for (i = 0; i < blocks->len; i++) {
        if (block(i)->used_length != length_of(i)) {
            error_setg(errp, "RAM '%s' has another size than at the savepoint: "
                       "start another VM", block(i)->idstr);
            return false;
        }
    }
    return true;
}

static int64_t cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * NANOSECONDS_PER_SECOND + now.tv_nsec;
}

/* Returns 0 or a negative errno. */
static int restore(int number, ShirqRewound *done)
{
    Savepoint *s = g_ptr_array_index(savepoints, number);
    int error;

    shirq_rewinding = true;
    memory_global_dirty_log_sync(false);
    purge_packets();
    done->drained = drain_sockets();
    /* In one transaction, the memory map is only computed once. */
    memory_region_transaction_begin();
    qemu_system_reset(SHUTDOWN_CAUSE_SNAPSHOT_LOAD);
    restore_ram(number, done);
    g_ptr_array_set_size(savepoints, number + 1);
    clear_dirty();
    error = load_state(s);
    memory_region_transaction_commit();
    if (!icount_enabled()) {
        timers_state.cpu_ticks_prev = 0;
    }
    restore_random_of_all(s->random);
    shirq_log_return(&s->log);
    shirq_rewinding = false;
    return error;
}

/*
 * The timers of the virtual clock if they are not those of the savepoint, else
 * NULL. A timer that neither reset nor load touches stays as it was.
 */
static char *other_timers(const Savepoint *s)
{
    g_autofree char *timers = qemu_timers_describe(QEMU_CLOCK_VIRTUAL);

    return strcmp(timers, s->timers) ? g_steal_pointer(&timers) : NULL;
}

ShirqRewound *qmp_shirq_rewind(bool has_savepoint, int64_t savepoint,
                               Error **errp)
{
    g_autoptr(ShirqRewound) done = g_new0(ShirqRewound, 1);
    g_autofree char *timers = NULL;
    int number = chosen(has_savepoint, savepoint, errp);
    int64_t began = cpu_ns();
    int error;

    if (number < 0 || !check_machine(errp) || !check_lengths(errp)) {
        return NULL;
    }
    stop_vm();
    error = restore(number, done);
    /* A shutdown, reset or stop that the guest's other future has asked for. */
    qemu_system_forget_requests();
    if (runstate_needs_reset()) {
        runstate_set(RUN_STATE_PAUSED);
    }
    if (error) {
        error_setg_errno(errp, -error, "loading the savepoint failed; the VM "
                         "is unusable");
        return NULL;
    }
    done->savepoint = number;
    timers = other_timers(g_ptr_array_index(savepoints, number));
    done->timers = !timers;
    done->cpu_ns = cpu_ns() - began;
    return g_steal_pointer(&done);
}

/* -- the check ------------------------------------------------------------- */

static void compare_ram(int number, int which, strList ***tail)
{
    RAMBlock *rb = block(which);
    size_t differing = 0, first = 0;
    size_t page;

    for (page = 0; page < pages_of(which); page++) {
        if (memcmp(rb->host + page * PAGE, page_at(number, which, page),
                   PAGE)) {
            first = differing ? first : page;
            differing++;
        }
    }
    if (differing) {
        QAPI_LIST_APPEND(*tail, g_strdup_printf("RAM '%s': %zu pages, the "
                         "first at 0x%zx", rb->idstr, differing, first * PAGE));
    }
}

/*
 * The name of the section of @state that has the byte at @place: the last
 * header before it, which is a type, a number of 32 bits, a length and a name.
 */
static char *section_at(const uint8_t *state, size_t place)
{
    size_t at, i;

    for (at = place; at-- > 0;) {
        size_t length = state[at] == QEMU_VM_SECTION_FULL ? state[at + 5] : 0;

        for (i = 0; i < length && at + 6 + i < place &&
             g_ascii_isgraph(state[at + 6 + i]); i++) {
            /* nothing */
        }
        if (length && i == length) {
            return g_strdup_printf("%.*s at %zu", (int)length, state + at + 6,
                                   place - at);
        }
    }
    return g_strdup_printf("the process at %zu", place);
}

static bool compare_state(Savepoint *s, strList ***tail, Error **errp)
{
    g_autofree uint8_t *state = NULL;
    size_t size, i, common;

    state = save_state(&size, errp);
    if (!state) {
        return false;
    }
    common = MIN(size, s->state_size);
    for (i = 0; i < common && state[i] == s->state[i]; i++) {
        /* nothing */
    }
    if (i < common || size != s->state_size) {
        g_autofree char *section = section_at(s->state, i);

        QAPI_LIST_APPEND(*tail, g_strdup_printf("state: %zu bytes instead of "
                         "%zu, the first difference in %s", size,
                         s->state_size, section));
    }
    return true;
}

ShirqRewindCheck *qmp_shirq_rewind_check(bool has_savepoint, int64_t savepoint,
                                         Error **errp)
{
    int number = chosen(has_savepoint, savepoint, errp);
    g_autoptr(ShirqRewindCheck) check = g_new0(ShirqRewindCheck, 1);
    g_autofree char *timers = NULL;
    strList **tail = &check->differences;
    Savepoint *s;
    int which;

    if (number < 0 || !check_machine(errp) || !check_lengths(errp)) {
        return NULL;
    }
    if (runstate_is_running()) {
        error_setg(errp, "the VM runs: stop it first");
        return NULL;
    }
    s = g_ptr_array_index(savepoints, number);
    for (which = 0; which < blocks->len; which++) {
        compare_ram(number, which, &tail);
    }
    if (!compare_state(s, &tail, errp)) {
        return NULL;
    }
    timers = other_timers(s);
    if (timers) {
        QAPI_LIST_APPEND(tail, g_strdup_printf("timers: %s instead of %s",
                                               timers, s->timers));
    }
    return g_steal_pointer(&check);
}
