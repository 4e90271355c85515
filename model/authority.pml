/*
 * Data safety: who may write a mirror, and does every acknowledged write survive?
 *
 * Two hosts, one mirror with a replica on each, one guest, an API that linearizes. Written from
 * the rules in docs/protocol.md and from what DRBD 8.4 does with `fencing resource-and-stonith`
 * and protocol C; not from the program. docs/model.md says what is covered, and how to read a
 * trail.
 *
 * Nothing here knows time. Every step may be taken late or never, so a pause of a host, an API
 * that is away, a slow answer, a wrong "host is lost" and a controller that assigns at random need
 * no step of their own. Steps of one host are one process with one control state: whatever it
 * remembers between two steps is in a variable, so that a crash can come between any two.
 *
 * Writes are not counted. What matters about a replica is whether it lacks a write that was
 * acknowledged (`lacks`); that is exact for sets of writes, and keeps the number of states finite
 * without a bound on the number of writes, epochs or, without -DFAULTS, faults.
 */

#define peer (1 - me)

#define step(text) printf("\n  host %d: ", me); printf(text)

/* ---- replica: what DRBD's metadata says of a disk ---- */
#define INCONSISTENT 0
#define OUTDATED     1
#define CONSISTENT   2   /* after a boot: nobody knows whether it is current */
#define UPTODATE     3

/* ---- authority ---- */
#define NOBODY     2
#define MIRRORED   0
#define STANDALONE 1

/* ---- requests: what a compare-and-swap would write ---- */
#define NONE        0
#define GRANT       1   /* I may write alone; the peer is ineligible */
#define RESTORE     2   /* both count again */
#define CLAIM_ALONE 3   /* I own it, and the peer is ineligible */
#define CLAIM_BOTH  4   /* I own it, and the peer is in sync */
#define RELEASE     5   /* nobody owns it */
#define LEAVE       6   /* I am not the owner, and will not hold what is written from now on */
#define WITHDRAW    7   /* what I was granted was never used: both count, as before */
#define MIGRATE     8   /* the owner's guest may be moved to the peer while it executes */
#define HANDOVER    9   /* it has been */
#define BACK        10  /* it has not been */
#define HANDOVER_ALONE 11 /* and nobody has seen both ends forbid two Primaries: for the target alone */
#define WON         12  /* added once the API carried it out */

#ifndef FAULTS
#define FAULTS 0        /* 0: any number of them */
#endif

/* the API */
byte owner = 0;
bit  owner_boot = 1;    /* ownerInstance is the owner's present boot */
#ifdef MIGRATING
byte mode = MIRRORED;
#else
bit  mode = MIRRORED;
#endif
bit  eligible[2] = 1;
bit  told_clear[2] = 1; /* status.replicas[h]: this host's marker is clear. May be out of date */

/* a host: durable, on its mirror's metadata or its own file system */
byte disk[2] = UPTODATE;
bit  peer_out[2];       /* "the peer is outdated" stands in the metadata */
bit  ahead[2];          /* a data generation that the peer does not have */
bit  was_primary[2];    /* it crashed as Primary */
bit  marker[2];
#ifdef WITHDRAWING
bit  same[2] = 1;       /* its generation is the one that it noted when both last counted */
#endif

/* a host: kernel */
bit  up[2] = 1;         /* attached, and may be connected */
bit  failed[2];         /* its disk gives errors until the next boot */
bit  primary[2];        /* Primary, with the guest on it */
bit  connected[2] = 1;  /* as this side sees it */
bit  peer_good[2] = 1;  /* as this side last heard: the peer's disk was better than Outdated */
bit  frozen[2];
bit  unsynced[2];       /* Outdated was promised, and is not on disk yet */
bit  live = 1;          /* the two ends' connection is one and the same */
bit  syncing;           /* a resynchronisation is agreed on */
bit  target;            /* of it */

/* a host: actuator. Two threads of it talk to the API: DRBD's handler, and the rest */
byte handler[2];
byte worker[2];
byte late[2];           /* a request that nobody waits for any more: it may still be carried out */
bit  late_boot[2];      /* and was sent in the present boot */
bit  confirmed[2];      /* DRBD's question during a promotion was answered with yes */
#ifdef WEAK_RESTORE_QUERIES_FIRST
bit  queried[2];
#endif

/* Numbers, up to EPOCH_LIMIT, so that swaps compare them. Without -DEPOCHS: see conflict(). */
#ifdef BACKUP
#define EPOCHS
#endif
#ifdef EPOCHS
#ifndef EPOCH_LIMIT
#define EPOCH_LIMIT 4
#endif
byte epoch = 1;
byte base[6];           /* per slot of a host: the epoch that its request was made from */
#endif
#ifdef BACKUP
byte noted[2] = 1;      /* durable: the highest epoch that this host has seen */
/* The API's store, as it was at some moment; then it comes back as that, once. */
byte saved_epoch;
byte saved_owner;
bit  saved_boot;
bit  saved_mode;
bit  saved_eligible[2];
bit  restored;
#define RULE_1_APPLIES (!restored)
#else
#define RULE_1_APPLIES true
#endif

#ifdef MIGRATING         /* migration.pml */
#define MIGRATING_MODE 2

#define NO_HALF 0
#define COPYING 1
#define WHOLE   2

#define IS_OVER 2       /* and it was asked to be taken back */

bit  two[2];            /* by this end's file and kernel, both may be Primary */
bit  still[2];          /* Primary, and no guest of its own executes */
bit  stale[2];
byte half;              /* at the target */
bit  handed;            /* the authority says: owned by the present migration, and nothing else */
bit  told_to;           /* the target has read Migrating, and will act on it, whenever */
bit  session;           /* by its events, the target's connection is the one in which it was promoted */
bit  sees;              /* an event in it told that the peer is Secondary; it may be read late */
bit  unowned;           /* the target executes by that, and the authority does not say so yet */
byte migrates;          /* durable, at the source: 1: Migrating, from itself */
bit  job;               /* libvirt's, at the source */
bit  succeeded;         /* and what it reported; durable */

#define EXECUTES(h) (primary[h] && !still[h])
#define LINKED (connected[0] && connected[1] && live)
#define KERNELS_LET_JOIN (two[0] == two[1] && (two[0] || !(primary[0] && primary[1])))
/* Promoted first, and then it looks: who starts a guest has seen that its peer is not Primary. */
#ifdef WEAK_NO_LOOK_AFTER_PROMOTION
#define SECOND_PRIMARY two[me]
#else
#define SECOND_PRIMARY false
#endif

#ifdef WEAK_TWO_OUTLIVE
#define FORBIDDEN_HERE true
#define FORBIDDEN_AT_BOTH true
#else
#define FORBIDDEN_HERE (!two[me])
#define FORBIDDEN_AT_BOTH (LINKED && !two[0] && !two[1])
#endif
/* Not while it is the source's own business who owns it. */
#define MAY_RELEASE (me == 1 || !migrates || (!connected[0] && !job && !succeeded))
#ifdef WEAK_DEMOTED_FOR_ANOTHER_REASON
#define MAY_STOP !still[me]
#else
#define MAY_STOP (!still[me] && (me == 1 || !migrates || !connected[me]))
#endif
#define EXECUTES_UNOWNED (unowned && owner == 0 && mode == MIGRATING_MODE && eligible[1])
#ifdef WEAK_END_NOT_NOTED_FIRST
#define NOT_NOTED false
#else
#define NOT_NOTED (!migrates && owner_boot)
#endif
/* The source hands over what is gone, before anything else; and what it begins it notes before it ends it. */
#ifdef WEAK_CLAIMS_WHAT_IT_HAS_SENT
#define KEPT_BY_OWNER true
#else
#define KEPT_BY_OWNER !(me == 0 && owner == 0 && mode == MIGRATING_MODE && (succeeded || NOT_NOTED))
#endif
/* What would end a migration may be carried out late. So that it does not go on is noted first. */
inline ends_migration() {
#ifndef WEAK_END_NOT_NOTED_FIRST
    if :: me == 0 && migrates && owner == 0 && mode == MIGRATING_MODE -> migrates = IS_OVER :: else fi
#else
    skip
#endif
}
#else
#define ends_migration() skip
#define EXECUTES(h) primary[h]
#define KERNELS_LET_JOIN !(primary[0] && primary[1])
#define SECOND_PRIMARY false
#define FORBIDDEN_HERE true
#define FORBIDDEN_AT_BOTH true
#define MAY_RELEASE true
#define MAY_STOP true
#define KEPT_BY_OWNER true
#define stops_here() skip
#define executes_here() skip
#define forgets_at_crash() skip
#define check_migration() skip
#endif

byte what;              /* scratch: 0 between steps */

/* the referee */
bit  lacks[2];          /* an acknowledged write is missing from this replica */
byte faults;

#define CURRENT(h)      (disk[h] == UPTODATE && !failed[h])
/* will not be promoted, whatever anybody decides, also after a crash */
#define UNPROMOTABLE(h) (marker[h] || failed[h] || disk[h] <= OUTDATED || \
                         (!up[h] && disk[h] == CONSISTENT))
#define MINE            (owner == me && owner_boot)

#ifdef WITHDRAWING
#define begins_generation(h) ahead[h] = 1; same[h] = 0
#define another_generation(h) same[h] = 0
#define note_generation(h) same[h] = !ahead[h]
#else
#define begins_generation(h) ahead[h] = 1
#define another_generation(h) skip
#define note_generation(h) skip
#endif

inline fault() {
    if
    :: FAULTS -> faults++
    :: else
    fi
}
#define MAY_FAIL (FAULTS == 0 || faults < FAULTS)

/* a Primary whose writes both have: any number of these are acknowledged, unseen here */
#define ACKNOWLEDGES(h) (EXECUTES(h) && !failed[h] && connected[0] && connected[1] && live)

/* Rule 1, and what it is for. After every step that could break it. */
inline check() {
    assert(!(lacks[0] && lacks[1]));
    assert(!(ACKNOWLEDGES(0) && lacks[0]) && !(ACKNOWLEDGES(1) && lacks[1]));
    assert(!RULE_1_APPLIES || !lacks[0] || (mode == STANDALONE && owner == 1) || !eligible[0] ||
           UNPROMOTABLE(0));
    assert(!RULE_1_APPLIES || !lacks[1] || (mode == STANDALONE && owner == 0) || !eligible[1] ||
           UNPROMOTABLE(1));
    check_migration()
}

/* ------------------------------------------------------------------ the API */

#define HANDLER 0
#define WORKER  1
#define LATE    2

#ifdef BACKUP
#define note(h, number) if :: noted[h] < number -> noted[h] = number :: else fi
#else
#define note(h, number) skip            /* numbers never fall */
#endif
#if defined(BACKUP) && !defined(WEAK_EPOCH_NOT_REMEMBERED)
#define HELD (epoch < noted[me])        /* rule 2 */
#else
#define HELD false
#endif
#ifdef EPOCHS
#define MORE_EPOCHS (epoch < EPOCH_LIMIT)
#else
#define MORE_EPOCHS true
#endif

/* With -DEPOCHS every request keeps its number, and fails if it has changed. Without, and with
 * -DBACKUP, every request that is on its way was read from the present state, because a swap forgets
 * the others. A host that hears "conflict" starts over, and so does one that hears nothing. */
#ifdef EPOCHS
#define note_base(slot) base[me * 3 + slot] = epoch; note(me, epoch)
#define note_won(slot) note(me, base[me * 3 + slot] + 1)
#define forget_base(h, slot) base[h * 3 + slot] = 0
#else
#define note_base(slot) skip
#define note_won(slot) skip
#define forget_base(h, slot) skip
#endif
#if defined(EPOCHS) && !defined(BACKUP)
#define FRESH(slot) (MORE_EPOCHS && epoch == base[me * 3 + slot])
#else
#define FRESH(slot) MORE_EPOCHS
#endif

inline conflict(h, slot, number) {
    if
#if defined(EPOCHS) && !defined(BACKUP)
    :: true
#else
#ifdef WEAK_GRANT_WITHOUT_CAS
    :: slot == GRANT
#endif
    :: slot > WON
    :: else -> slot = NONE; forget_base(h, number)
#endif
    fi
}

/* The only writer of the authority. */
inline swap(who, request, this_boot) {
    what = request;
#ifdef MIGRATING
    handed = (what == HANDOVER || what == HANDOVER_ALONE);
#endif
#ifdef EPOCHS
    epoch++;
#endif
#if defined(BACKUP) && !defined(WEAK_EPOCH_NOT_REMEMBERED)
    assert(epoch > noted[who]);
#endif
    if
    :: what == GRANT || what == CLAIM_ALONE ->
        owner = who; owner_boot = this_boot; mode = STANDALONE;
        eligible[who] = 1; eligible[1 - who] = 0
    :: what == CLAIM_BOTH -> owner = who; owner_boot = this_boot; mode = MIRRORED;
        note_generation(who)
    :: what == RESTORE -> mode = MIRRORED; eligible[0] = 1; eligible[1] = 1; note_generation(who)
    :: what == WITHDRAW -> mode = MIRRORED; eligible[0] = 1; eligible[1] = 1
#ifdef MIGRATING
    :: what == MIGRATE -> mode = MIGRATING_MODE
    :: what == BACK -> mode = MIRRORED
    /* to the boot that has the half; where nobody has seen both ends forbid it, for that end alone */
    :: what == HANDOVER -> owner = 1; owner_boot = primary[1]; mode = MIRRORED
    :: what == HANDOVER_ALONE -> owner = 1; owner_boot = primary[1]; mode = STANDALONE; eligible[0] = 0
#endif
    :: what == RELEASE -> owner = NOBODY; owner_boot = 0; if :: mode != STANDALONE -> mode = MIRRORED :: else fi
    :: what == LEAVE ->
        eligible[who] = 0; if :: owner == 1 - who -> mode = STANDALONE :: else fi
    fi;
#ifdef MIGRATING
    if :: owner == 1 -> unowned = 0 :: else fi;
#endif
    conflict(0, handler[0], HANDLER); conflict(0, worker[0], WORKER); conflict(0, late[0], LATE);
    conflict(1, handler[1], HANDLER); conflict(1, worker[1], WORKER); conflict(1, late[1], LATE)
}

/* A request arrives: now, late, after its sender gave up, or never. */
inline api() {
    if
    :: d_step { handler[me] != NONE && handler[me] < WON && FRESH(HANDLER) -> step("API carries out the handler's swap");
        swap(me, handler[me], 1); handler[me] = what + WON; what = NONE; check() }
    :: d_step { worker[me] != NONE && worker[me] < WON && FRESH(WORKER) -> step("API carries out the swap");
        swap(me, worker[me], 1); worker[me] = what + WON; what = NONE; check() }
    :: d_step { late[me] != NONE && FRESH(LATE) -> step("API carries out a swap that nobody waits for");
        swap(me, late[me], late_boot[me]); late[me] = NONE; late_boot[me] = 0;
        what = NONE; forget_base(me, LATE); check() }
    fi
}

#ifdef BACKUP
/* A watch tells it. What an own swap gave stands in the record before anything comes of it: see
 * note_won(). */
inline sees_authority() {
    d_step { up[me] && noted[me] < epoch -> step("notes the epoch"); noted[me] = epoch }
}

#ifdef ONE_HAS_NOT_SEEN
#define BOTH_HAVE_SEEN (saved_epoch < noted[0] || saved_epoch < noted[1])
#else
#define BOTH_HAVE_SEEN (saved_epoch < noted[0] && saved_epoch < noted[1])
#endif

inline loses_request(h, slot, number) {
    if :: slot < WON -> slot = NONE; forget_base(h, number) :: else fi
}

/* Its connections end with it. */
inline backup() {
    if
    :: d_step { me == 0 && saved_epoch == 0 -> step("the API's store is saved");
        saved_epoch = epoch; saved_owner = owner; saved_boot = owner_boot; saved_mode = mode;
        saved_eligible[0] = eligible[0]; saved_eligible[1] = eligible[1] }
    :: d_step { me == 0 && saved_epoch != 0 && !restored && BOTH_HAVE_SEEN ->
        step("the API is restored"); restored = 1;
        epoch = saved_epoch; owner = saved_owner; owner_boot = saved_boot; mode = saved_mode;
        eligible[0] = saved_eligible[0]; eligible[1] = saved_eligible[1];
        saved_owner = 0; saved_boot = 0; saved_mode = 0; saved_eligible[0] = 0; saved_eligible[1] = 0;
        told_clear[0] = 1; told_clear[1] = 1;
        loses_request(0, handler[0], HANDLER); loses_request(0, worker[0], WORKER);
        loses_request(1, handler[1], HANDLER); loses_request(1, worker[1], WORKER);
        late[0] = NONE; late[1] = NONE; forget_base(0, LATE); forget_base(1, LATE); late_boot[0] = 0; late_boot[1] = 0; check() }
    fi
}
#endif

/* ------------------------------------------------------------------ DRBD: writes */

/* A write that both have and that is acknowledged changes nothing here, and one that is in flight
 * may be so whenever the guest runs. So only those steps are left in which a write is acknowledged
 * that one replica lacks. */
#ifdef MIGRATING
#define IS_STALE(h) stale[h]
#else
#define IS_STALE(h) false
#endif
inline acknowledges_alone() {
    assert(!lacks[me]); assert(!IS_STALE(me)); lacks[peer] = 1
}

inline guest_writes() {
    if
    /* not connected and not frozen, or the peer has said that its disk failed */
    :: d_step { EXECUTES(me) && !frozen[me] && CURRENT(me) &&
        (!connected[me] || (failed[peer] && !peer_good[me])) && !lacks[peer] ->
        step("acknowledges alone"); acknowledges_alone(); check() }
    /* without an own disk: over the connection, after the peer was told about it */
    :: d_step { EXECUTES(me) && !frozen[me] && failed[me] && connected[me] && connected[peer] &&
        live && CURRENT(peer) && !peer_good[peer] && !lacks[me] ->
        step("acknowledges what only the peer has, having no disk");
        assert(!lacks[peer]); lacks[me] = 1; check() }
#ifdef WEAK_PROTOCOL_A
    :: d_step { EXECUTES(me) && !frozen[me] && CURRENT(me) && !lacks[peer] ->
        step("acknowledges before the peer has it"); acknowledges_alone(); check() }
#endif
    fi
}

/* ------------------------------------------------------------------ DRBD: connection */

inline set_peer_out(h, value) {
    if :: failed[h] :: else -> peer_out[h] = value fi
}

/* The connection breaks, one way or both: nothing arrives from now on. Each side notices by
 * itself, in its own time. */
inline link_breaks() {
    d_step { live && MAY_FAIL -> step("the connection breaks"); fault(); live = 0; syncing = 0; target = 0 }
}

/* A Primary freezes, and asks, only if its peer was better than Outdated. */
inline notices_loss() {
    d_step { connected[me] && !live -> step("notices that the connection is lost");
        connected[me] = 0;
        if
        :: primary[me] && !failed[me] && disk[me] >= CONSISTENT && peer_good[me] ->
            frozen[me] = 1
        :: primary[me] && !failed[me] && disk[me] >= CONSISTENT && !peer_good[me] ->
            begins_generation(me)
        :: else
        fi;
        peer_good[me] = 0;
#if defined(MIGRATING) && !defined(WEAK_SESSION_BY_LOOKS)
        if :: me == 1 -> session = 0 :: else fi;
#endif
        check() }
}

/* What was sent to the API may still be carried out after its sender is gone. */
inline give_up(h, slot, number, boot) {
    if
    :: slot != NONE && slot < WON && late[h] == NONE ->
        late[h] = slot; late_boot[h] = boot;
#ifdef EPOCHS
        base[h * 3 + LATE] = base[h * 3 + number]
#endif
    :: else
    fi;
    slot = NONE; forget_base(h, number)
}

inline drop_handler(h) {
    /* "late result": the link came back meanwhile. What was asked of the API may still happen. */
#ifndef WEAK_LATE_RESULT_COUNTS
    give_up(h, handler[h], HANDLER, 1);
#endif
    confirmed[h] = 0
}

inline source_and_target(t) {
    /* t becomes the target of a resynchronisation; its data are untouched until it has begun */
    syncing = 1; target = t;
    if :: disk[t] > OUTDATED -> disk[t] = OUTDATED; unsynced[t] = 1 :: else fi;
    peer_good[t] = 1; peer_good[1 - t] = 0;
    set_peer_out(t, 0); set_peer_out(1 - t, 1);
    if :: failed[1 - t] :: else -> ahead[1 - t] = 1 fi
}

inline join() {
    live = 1; connected[0] = 1; connected[1] = 1;
    frozen[0] = 0; frozen[1] = 0;        /* thaws by sending again what was in flight */
    drop_handler(0); drop_handler(1);
    was_primary[0] = 0; was_primary[1] = 0
}

#define MAY_JOIN (up[0] && up[1] && !connected[0] && !connected[1] && !failed[0] && !failed[1] && \
                  KERNELS_LET_JOIN)
#define LEADS(x, y) ((ahead[x] && !ahead[y]) || (!ahead[0] && !ahead[1] && was_primary[x]))

/* One handshake, by data generations. Both ahead is a split brain: nobody joins. A Primary never
 * becomes a target. */
inline handshakes() {
    if
    /* hole 5: a frozen Primary meets a peer that has rebooted. No join; in-flight writes are
     * acknowledged, a new generation begins, and the Primary goes on alone, unasked. */
    :: d_step { MAY_JOIN && primary[me] && frozen[me] && disk[peer] == CONSISTENT &&
        !ahead[peer] && !was_primary[peer] -> step("frozen, meets a rebooted peer: goes on alone");
        frozen[me] = 0; begins_generation(me);
        drop_handler(me);
        check() }
    :: d_step { MAY_JOIN && EXECUTES(me) && frozen[me] && disk[peer] == CONSISTENT &&
        !ahead[peer] && !was_primary[peer] -> step("frozen, meets a rebooted peer: acknowledges what was in flight, goes on alone");
        frozen[me] = 0; begins_generation(me);
        acknowledges_alone();
        drop_handler(me);
        check() }
    :: d_step { MAY_JOIN && LEADS(me, peer) && !primary[peer] &&
        !(primary[me] && frozen[me] && disk[peer] == CONSISTENT) -> step("connects as the source");
        join(); source_and_target(peer);
        if :: disk[me] == CONSISTENT || disk[me] == OUTDATED -> disk[me] = UPTODATE :: else fi;
        check() }
    /* only the source's side gets that far */
    :: d_step { MAY_JOIN && LEADS(me, peer) && !primary[peer] && MAY_FAIL &&
        !(primary[me] && frozen[me] && disk[peer] == CONSISTENT) ->
        step("begins to connect as the source; the connection breaks"); fault();
        connected[me] = 1; peer_good[me] = 0; frozen[me] = 0; was_primary[me] = 0;
        ahead[me] = 1; set_peer_out(me, 1); drop_handler(me);
        if :: disk[me] == CONSISTENT || disk[me] == OUTDATED -> disk[me] = UPTODATE :: else fi;
        check() }
    :: d_step { me == 0 && MAY_JOIN && !ahead[0] && !ahead[1] && !was_primary[0] &&
        !was_primary[1] && !(frozen[0] && disk[1] == CONSISTENT) &&
        !(frozen[1] && disk[0] == CONSISTENT) -> step("connects, no resynchronisation");
        assert(disk[0] != INCONSISTENT && disk[1] != INCONSISTENT);
        join();
        disk[0] = UPTODATE; disk[1] = UPTODATE; unsynced[0] = 0; unsynced[1] = 0;
        peer_good[0] = 1; peer_good[1] = 1; peer_out[0] = 0; peer_out[1] = 0;
        check() }
    fi
}

inline resynchronises() {
    if
    :: d_step { syncing && target == me && live && connected[0] && connected[1] && !failed[me] &&
        disk[me] != INCONSISTENT -> step("begins to be resynchronised"); disk[me] = INCONSISTENT; unsynced[me] = 0; check() }
    /* the target knows first that it is done */
    :: d_step { syncing && target == me && live && connected[0] && connected[1] &&
        disk[me] == INCONSISTENT && !failed[0] && !failed[1] -> step("is resynchronised");
        disk[me] = UPTODATE; lacks[me] = lacks[peer]; syncing = 0; target = 0;
        another_generation(me); check() }
    /* then the source */
    :: d_step { !syncing && live && connected[0] && connected[1] && !peer_good[me] &&
        CURRENT(peer) -> step("hears that its peer is resynchronised");
        peer_good[me] = 1; set_peer_out(me, 0);
        if :: failed[me] :: else -> ahead[me] = 0 fi }
    fi
}

/* ------------------------------------------------------------------ faults of a host */

/* The metadata are on the disk. If it fails after the peer is in sync again and before that stands
 * there, it will say after a boot what is not true any more. docs/model.md: an assumption. */
#ifdef WEAK_DISK_FAILS_AT_RESYNC_END
#define METADATA_LAG false
#else
#define METADATA_LAG (live && connected[0] && connected[1] && !syncing && !peer_good[me] && \
                      CURRENT(peer))
#endif

inline disk_fails() {
    if
    :: d_step { up[me] && !failed[me] && !METADATA_LAG && MAY_FAIL -> step("its disk fails"); fault(); failed[me] = 1;
        if :: syncing -> syncing = 0; target = 0 :: else fi; check() }
    /* its peer hears of it before anything that it writes without a disk */
    :: d_step { live && connected[0] && connected[1] && failed[peer] && !failed[me] &&
        peer_good[me] -> step("hears that its peer's disk failed");
        peer_good[me] = 0; if
        :: (primary[me] || primary[peer]) && disk[me] == UPTODATE -> begins_generation(me)
        :: else
        fi;
        check() }
    fi
}

/* Rule 8: by the metadata the peer lacks something that this disk has. */
#ifdef WEAK_AHEAD_BY_THE_AUTHORITY
#define AHEAD (disk[me] == CONSISTENT && owner == me && mode == STANDALONE)
#else
#define AHEAD (disk[me] == CONSISTENT && ahead[me])
#endif

inline crashes() {
    if
    :: d_step { up[me] && MAY_FAIL -> step("crashes"); fault();
        up[me] = 0;
        if :: primary[me] && !failed[me] -> was_primary[me] = 1 :: else fi;
        primary[me] = 0; frozen[me] = 0; confirmed[me] = 0;
        connected[me] = 0; peer_good[me] = 0; live = 0; syncing = 0; target = 0;
        if
        :: unsynced[me] -> disk[me] = CONSISTENT; unsynced[me] = 0
        :: disk[me] == UPTODATE && !peer_out[me] -> disk[me] = CONSISTENT
        :: else
        fi;
        failed[me] = 0;
        forgets_at_crash();
        late_boot[me] = 0;
        if :: owner == me -> owner_boot = 0 :: else fi;
#ifdef BACKUP
        if :: saved_owner == me -> saved_boot = 0 :: else fi;
#endif
        give_up(me, worker[me], WORKER, 0); give_up(me, handler[me], HANDLER, 0);
#ifdef WEAK_RESTORE_QUERIES_FIRST
        queried[me] = 0;
#endif
        check() }
    /* the boot: attach, mark if the disk may not be current, and only then connect (rule 8) */
    :: d_step { !up[me] -> step("boots"); up[me] = 1;
#ifndef WEAK_NO_MARKER_AT_BOOT
        if :: disk[me] != UPTODATE && !AHEAD -> marker[me] = 1 :: else fi;
#endif
        check() }
    fi
}

/* ------------------------------------------------------------------ the actuator */

#ifdef WEAK_UNKNOWN_IS_GRANTED
#define GRANTED (handler[me] == GRANT || handler[me] == GRANT + WON)
#else
#define GRANTED (handler[me] == GRANT + WON)
#endif

/* Rule 4. DRBD froze and asks. */
inline link_loss_handler() {
    if
    :: d_step { frozen[me] && !connected[me] && handler[me] == NONE && !HELD && FORBIDDEN_HERE && KEPT_BY_OWNER &&
#ifdef WEAK_GRANT_NOT_OWNER
        true ->
#else
        MINE ->
#endif
        step("handler: asks to write alone"); note_base(HANDLER); ends_migration();
#ifdef WEAK_OLD_GRANT_SUFFICES
        handler[me] = (mode == STANDALONE -> GRANT + WON : GRANT)
#else
        handler[me] = GRANT
#endif
        }
    /* exit 4 */
    :: d_step { GRANTED && frozen[me] && !connected[me] -> step("handler: exit 4, goes on alone");
        note_won(HANDLER);
        give_up(me, handler[me], HANDLER, 1);
        frozen[me] = 0; begins_generation(me); set_peer_out(me, 1); check() }
    /* its answer is lost, its time is over, or its program crashed */
    :: d_step { handler[me] != NONE -> step("handler: gives up"); give_up(me, handler[me], HANDLER, 1) }
    fi
}

#define IN_SYNC (connected[me] && CURRENT(me) && peer_good[me] && !syncing)

/* The owner says Standalone when DRBD writes alone without having asked. */
inline degrade() {
    d_step { primary[me] && !frozen[me] && !IN_SYNC && worker[me] == NONE && !HELD && MINE && FORBIDDEN_HERE && KEPT_BY_OWNER &&
        (mode == MIRRORED || eligible[peer]) -> step("sees that it writes alone: asks for Standalone"); note_base(WORKER); ends_migration(); worker[me] = GRANT }
}

/* Rule 7. */
#ifdef WEAK_RESTORE_IGNORES_MARKER
#define PEER_CLEAR true
#else
#define PEER_CLEAR told_clear[peer]
#endif
#ifdef WEAK_RESTORE_BY_ANYBODY
#define MAY_RESTORE true
#else
/* Also on a later boot: it is in sync, and nobody is Primary. */
#define MAY_RESTORE (owner == me && (owner_boot || !primary[me]))
#endif

inline restore() {
#ifdef WEAK_RESTORE_QUERIES_FIRST
    if
    :: d_step { IN_SYNC && worker[me] == NONE && !queried[me] -> step("queries: in sync"); queried[me] = 1 }
    :: d_step { queried[me] -> step("forgets the query"); queried[me] = 0 }
    :: d_step { queried[me] && worker[me] == NONE && !HELD && owner == me && (owner_boot || !primary[me]) && mode == STANDALONE &&
        PEER_CLEAR -> step("asks for Mirrored"); queried[me] = 0; note_base(WORKER); worker[me] = RESTORE }
    fi
#else
    d_step { IN_SYNC && worker[me] == NONE && !HELD && MAY_RESTORE && mode == STANDALONE && FORBIDDEN_AT_BOTH &&
        PEER_CLEAR -> step("asks for Mirrored"); note_base(WORKER); worker[me] = RESTORE }
#endif
}

#ifdef WITHDRAWING
/* Rule 7, without the peer: the grant is of an earlier boot, and the generation says that DRBD never
 * went on alone with it. */
#ifdef WEAK_WITHDRAWS_WHAT_WAS_USED
#define UNUSED true
#else
#define UNUSED (same[me] && !ahead[me])
#endif
inline withdraw() {
    d_step { up[me] && !primary[me] && !connected[me] && worker[me] == NONE && !HELD && owner == me &&
        !owner_boot && mode == STANDALONE && UNUSED -> step("asks to withdraw a grant that was never used");
        note_base(WORKER); worker[me] = WITHDRAW }
}
#endif

/* Rule 8. */
#ifdef WEAK_MARKER_CLEARED_EARLY
#define BOTH_KNOW true
#else
#define BOTH_KNOW (live && connected[peer] && peer_good[peer])
#endif
inline mark() {
    if
#ifndef WEAK_NO_MARKER_LATER
    :: d_step { worker[me] == NONE && up[me] && !marker[me] && (failed[me] || disk[me] != UPTODATE) -> step("sets its marker");
        marker[me] = 1; check() }
#endif
    :: d_step { worker[me] == NONE && up[me] && marker[me] && IN_SYNC && BOTH_KNOW -> step("clears its marker"); marker[me] = 0; check() }
    :: d_step { told_clear[me] == marker[me] -> step("reports its marker"); told_clear[me] = !marker[me] }
    fi
}

/* Rule 6. No condition about the other host's lease: a wrong "it is lost" must do no harm. */
#ifdef WEAK_CLAIM_MARKED
#define UNMARKED true
#else
#define UNMARKED (!marker[me])
#endif
#ifdef WEAK_CLAIM_INELIGIBLE
#define ELIGIBLE true
#else
#define ELIGIBLE (eligible[me])
#endif
#ifdef WEAK_CLAIM_FROM_STANDALONE
#define PEER_NOT_ALONE true
#else
#define PEER_NOT_ALONE !(mode == STANDALONE && owner == peer)
#endif

inline claim() {
    if
    :: d_step { up[me] && !primary[me] && worker[me] == NONE && !HELD && PEER_NOT_ALONE && FORBIDDEN_HERE && KEPT_BY_OWNER &&
        ELIGIBLE && UNMARKED && !failed[me] && disk[me] >= CONSISTENT -> step("asks to own the mirror");
        note_base(WORKER); ends_migration();
        worker[me] = (IN_SYNC && eligible[peer] -> CLAIM_BOTH : CLAIM_ALONE) }
    /* Rule 9: after a planned stop */
    :: d_step { up[me] && !primary[me] && worker[me] == NONE && !HELD && MINE && MAY_RELEASE && KEPT_BY_OWNER -> step("asks to release the mirror");
        note_base(WORKER); ends_migration(); worker[me] = RELEASE }
    :: d_step { worker[me] != NONE -> step("gives up waiting for its swap"); give_up(me, worker[me], WORKER, 1) }
    fi
}

#ifdef WEAK_PROMOTE_WITHOUT_CLAIM
#define CLAIMED true
#else
#define CLAIMED (worker[me] == CLAIM_ALONE + WON || worker[me] == CLAIM_BOTH + WON)
#endif

/* Rule 5: DRBD's question during an own promotion. */
#ifdef WEAK_PROMOTION_UNCONFIRMED
#define CONFIRMS true
#else
#ifdef WEAK_PROMOTION_PEER_NOT_OUT
#define CONFIRMS MINE
#else
#define CONFIRMS (MINE && mode == STANDALONE && !eligible[peer])
#endif
#endif

inline starts_guest() {
    assert(!lacks[me]);
    executes_here();
    primary[me] = 1; was_primary[me] = 0; confirmed[me] = 0;
    if :: worker[me] > WON -> note_won(WORKER); worker[me] = NONE; forget_base(me, WORKER) :: else fi
}

inline promote() {
    if
    /* connected: the peer's kernel has a say */
    :: d_step { CLAIMED && up[me] && !primary[me] && CURRENT(me) && connected[me] &&
        connected[peer] && live && (!primary[peer] || SECOND_PRIMARY) -> step("promotes, connected; the guest starts");
        if :: !peer_good[me] -> begins_generation(me) :: else fi;
        starts_guest(); check() }
    /* alone, and the metadata say that the peer is outdated: DRBD asks nobody */
    :: d_step { CLAIMED && up[me] && !primary[me] && !failed[me] && !connected[me] &&
        disk[me] == UPTODATE && peer_out[me] -> step("promotes alone, unasked; the guest starts");
        begins_generation(me); starts_guest(); check() }
    /* alone: it asks, and then goes on or not */
    :: d_step { CLAIMED && up[me] && !primary[me] && !failed[me] && !connected[me] &&
        disk[me] >= CONSISTENT && !confirmed[me] && !HELD && CONFIRMS -> step("promotion: confirmed"); confirmed[me] = 1 }
    :: d_step { CLAIMED && confirmed[me] && up[me] && !primary[me] && !failed[me] &&
        !connected[me] && disk[me] >= CONSISTENT -> step("promotes alone; the guest starts");
        disk[me] = UPTODATE; peer_out[me] = 1; begins_generation(me); starts_guest(); check() }
    :: d_step { confirmed[me] -> step("promotion: refused or timed out"); confirmed[me] = 0 }
    fi
}

/* Stop and demote: wanted elsewhere, self-fenced, somebody else owns the mirror, or for no reason.
 * What was in flight is never acknowledged. A frozen device is let go, and may or may not have
 * begun a new generation. */
inline stop() {
    if
    :: d_step { MAY_STOP && primary[me] && !frozen[me] -> step("stops"); primary[me] = 0; stops_here() }
    :: d_step { MAY_STOP && primary[me] && frozen[me] -> step("stops, frozen"); primary[me] = 0; frozen[me] = 0; stops_here() }
    :: d_step { MAY_STOP && primary[me] && frozen[me] -> step("stops, frozen"); primary[me] = 0; frozen[me] = 0; stops_here();
        if :: failed[me] :: else -> begins_generation(me) fi }
    fi
}

/* A graceful disconnect, or `down`, while one side is Primary: the Secondary outdates itself, and the
 * Primary goes on with no freeze and no question. The promise comes before it stands in the metadata.
 * So a swap comes first (rule 9), which also ends whatever was asked for before. Who stops marks
 * itself before it disconnects (rule 8). Two Secondaries part without outdating anybody. */
#ifdef WEAK_LEAVES_WITHOUT_CAS
#define MAY_LEAVE (worker[me] == NONE)
#else
#define MAY_LEAVE (worker[me] == LEAVE + WON)
#endif
#ifdef WEAK_DISCONNECTS_WITHOUT_CAS
#define MAY_DISCONNECT (worker[me] == NONE && MINE)
#else
#define MAY_DISCONNECT (worker[me] == GRANT + WON)
#endif
#ifdef WEAK_NO_MARKER_AT_STOP
#define MARKED true
#else
#define MARKED (marker[me])
#endif
#define JOINED (connected[me] && connected[peer] && live)

inline part(outdated) {
    live = 0; connected[0] = 0; connected[1] = 0; syncing = 0; target = 0;
    peer_good[0] = 0; peer_good[1] = 0; peer_out[1 - outdated] = 1;
    if :: disk[outdated] == UPTODATE -> disk[outdated] = OUTDATED; unsynced[outdated] = 1 :: else fi;
    begins_generation(1 - outdated)
}

inline leaves() {
    if
    :: d_step { up[me] && !primary[me] && worker[me] == NONE && !HELD && owner != me ->
        step("asks to leave"); note_base(WORKER); worker[me] = LEAVE }
    :: d_step { MAY_LEAVE && up[me] && !primary[me] && !marker[me] -> step("marks itself, to leave");
        marker[me] = 1; check() }
    :: d_step { MAY_LEAVE && MARKED && up[me] && !primary[me] && primary[peer] && JOINED &&
        !failed[me] && CURRENT(peer) -> step("leaves gracefully");
        note_won(WORKER); worker[me] = NONE; forget_base(me, WORKER); part(me); check() }
    :: d_step { MAY_LEAVE && MARKED && up[me] && !primary[me] && !primary[peer] && JOINED &&
        !failed[me] && !failed[peer] -> step("leaves gracefully; nobody is Primary");
        note_won(WORKER); worker[me] = NONE; forget_base(me, WORKER);
        live = 0; connected[0] = 0; connected[1] = 0; syncing = 0; target = 0;
        peer_good[0] = 0; peer_good[1] = 0; check() }
    /* its own disk must be current, or DRBD refuses */
    :: d_step { primary[me] && !frozen[me] && IN_SYNC && worker[me] == NONE && !HELD && MINE ->
        step("asks for Standalone, to disconnect"); note_base(WORKER); worker[me] = GRANT }
    :: d_step { MAY_DISCONNECT && primary[me] && !frozen[me] && CURRENT(me) && JOINED &&
        !failed[peer] -> step("disconnects, as Primary");
        note_won(WORKER); worker[me] = NONE; forget_base(me, WORKER); part(peer); check() }
    :: d_step { unsynced[me] -> step("has Outdated on disk"); unsynced[me] = 0 }
    fi
}

/* A split brain: who is ineligible gives up what only it has, after it has marked itself. */
inline rejoins() {
    d_step { worker[me] == NONE && up[me] && !connected[me] && !primary[me] && ahead[0] && ahead[1] && !HELD &&
        owner == peer && !eligible[me] -> step("gives up its own writes"); marker[me] = 1; ahead[me] = 0; was_primary[me] = 0;
        check() }
}

#ifdef MIGRATING
#include "migration.pml"
#endif

proctype Host(byte me) {
end: do
    :: api()
    :: guest_writes()
    :: link_breaks()
    :: notices_loss()
    :: handshakes()
    :: resynchronises()
#ifdef DISK_FAILURES
    :: disk_fails()
#endif
    :: crashes()
    :: link_loss_handler()
    :: degrade()
    :: restore()
#ifdef WITHDRAWING
    :: withdraw()
#endif
    :: mark()
    :: claim()
    :: promote()
    :: stop()
#ifdef LEAVING
    :: leaves()
#endif
#ifdef BACKUP
    :: sees_authority()
    :: backup()
#endif
#ifdef MIGRATING
    :: migrates_source()
    :: migrates_target()
    :: forbids()
#endif
    :: rejoins()
    od
}

init {
    atomic { primary[0] = 1; run Host(0); run Host(1) }
}
