/*
 * Live migration, in authority.pml (-DMIGRATING): from host 0, the source, to host 1, the target.
 * The rules are those of docs/design/2026-11-29-live-migration.md.
 *
 * A Primary's guest executes, unless `still`. The target holds a `half`: no domain, one that is
 * being copied, or one that is whole and paused. `stale`: whoever executes elsewhere has gone on
 * since this memory was taken; it must never acknowledge a write.
 *
 * The target's events are told in their order, and read as late as it likes: `session`, as of the
 * last event; `sees`, an event told in it that the peer is Secondary. `unowned`: the target
 * executes by that, and nobody has swapped since. Here no wait for a lease is known, so checked is
 * what those waits rest on: while it executes and does not own the mirror, the source does not.
 */

inline check_migration() {
    assert(!(EXECUTES(0) && EXECUTES(1) && !frozen[0] && !frozen[1] && LINKED));
    assert(!(unowned && EXECUTES(1) && EXECUTES(0)));
    assert(!(ACKNOWLEDGES(0) && stale[0]) && !(ACKNOWLEDGES(1) && stale[1]));
#ifdef ARRIVES
    assert(!(handed && mode == MIRRORED && ACKNOWLEDGES(1) && !two[0] && !two[1]))
#endif
}

/* A guest begins to execute here: whatever memory the other side has is of another past. */
inline executes_here() {
    if :: EXECUTES(peer) || (me == 0 && half == WHOLE) -> stale[peer] = 1 :: else fi;
    still[me] = 0; stale[me] = 0;
    if :: me == 1 -> told_to = 0 :: else -> migrates = 0; succeeded = 0 fi
}

/* What libvirt has reported is noted durably before anything is done about it. */
#ifdef WEAK_SUCCESS_IS_FORGOTTEN
#define SUCCESS_AT_CRASH succeeded = 0
#else
#define SUCCESS_AT_CRASH skip
#endif

inline forgets_at_crash() {
    still[me] = 0; stale[me] = 0;
    if
    :: me == 0 -> job = 0; SUCCESS_AT_CRASH
    :: else -> half = NO_HALF; told_to = 0; session = 0; sees = 0; unowned = 0
    fi
}

inline stops_here() {
    if :: me == 1 -> session = 0; unowned = 0 :: else fi;
    /* a claim of what it executed is none for another start */
    if
    :: worker[me] % WON == CLAIM_ALONE || worker[me] % WON == CLAIM_BOTH -> give_up(me, worker[me], WORKER, 1)
    :: else
    fi
}

/* Whoever owns the mirror by now: as long as the target may hold a half in that session, "the source is
 * Secondary" means one thing alone. */
#ifdef WEAK_OVER_BY_THE_AUTHORITY
#define OVER true
#else
#define OVER (!primary[0] || !connected[0] || (LINKED && !primary[1]))
#endif

/* Its own disk has failed: whatever it acknowledges, the peer has. */
#define ONLY_THERE(h) (failed[h] && connected[h] && LINKED && CURRENT(1 - h) && !syncing)

/* What this host acknowledged, the target has. Without a guest it acknowledges nothing more. */
#ifdef WEAK_LEFT_THOUGH_IT_WENT_ON_ALONE
#define BOTH_HAVE_ALL true
#else
#define BOTH_HAVE_ALL (IN_SYNC || frozen[0] || ONLY_THERE(0))
#endif

/* What was asked to be taken back may be so at any time: that migration never goes on. */
#ifdef WEAK_SENT_THOUGH_IT_IS_OVER
#define MAY_SEND migrates
#else
#define MAY_SEND (migrates == 1)
#endif

inline migrates_source() {
    if
    :: d_step { me == 0 && EXECUTES(0) && !frozen[0] && worker[0] == NONE && !HELD && MINE &&
        mode == MIRRORED && eligible[1] && (IN_SYNC || ONLY_THERE(0)) && !migrates -> step("asks to migrate");
        note_base(WORKER); worker[0] = MIGRATE }
    :: d_step { me == 0 && up[0] && mode == MIGRATING_MODE && MINE && !migrates && worker[0] != HANDOVER + WON && worker[0] != HANDOVER_ALONE + WON &&
        worker[0] != BACK + WON -> step("notes that it migrates"); migrates = 1;
        if :: worker[0] == MIGRATE + WON -> worker[0] = NONE :: else fi }
#ifdef WEAK_TWO_BEFORE_THE_SWAP
    :: d_step { me == 0 && EXECUTES(0) && LINKED && MINE -> step("allows two Primaries"); two[0] = 1; two[1] = 1 }
#else
    :: d_step { me == 0 && migrates && up[0] && !two[0] && !succeeded && worker[0] == NONE -> step("allows two Primaries"); two[0] = 1;
        if :: LINKED -> two[1] = 1 :: else fi }
#endif
    /* the target's QEMU opens the device: it must be Primary */
    :: d_step { me == 0 && MAY_SEND && EXECUTES(0) && worker[0] == NONE && !job && primary[1] && still[1] && half == NO_HALF &&
        up[1] -> step("libvirt copies its memory"); job = 1; half = COPYING }
    /* nothing may be in flight */
    :: d_step { me == 0 && job && EXECUTES(0) && half == COPYING && primary[1] -> step("all of it is at the target, paused");
        half = WHOLE; still[0] = 1; stale[1] = 0 }
    :: d_step { me == 0 && job && MAY_SEND && still[0] && half == WHOLE && BOTH_HAVE_ALL -> step("its domain is gone: libvirt reports success, which is noted");
        job = 0; succeeded = 1 }
    :: d_step { me == 0 && job && still[0] && half == WHOLE -> step("its domain is gone, and nobody hears of it"); job = 0 }
    /* cancelled, failed, or libvirt's last answer is lost: it goes on here */
    :: d_step { me == 0 && job -> step("the job ends badly: the guest goes on here"); job = 0;
        if :: still[0] && half == WHOLE -> stale[1] = 1 :: else fi;
        still[0] = 0; check() }
#ifndef WEAK_DEMOTED_FOR_ANOTHER_REASON
    :: d_step { me == 0 && migrates && succeeded && primary[0] -> step("demotes: its guest is at the target");
        primary[0] = 0; frozen[0] = 0; still[0] = 0; check() }
#else
    :: d_step { me == 0 && migrates && primary[0] -> step("demotes"); primary[0] = 0; frozen[0] = 0; still[0] = 0; job = 0; check() }
#endif
#ifdef WEAK_HANDED_OVER_WHILE_IT_EXECUTES
    :: d_step { me == 0 && migrates && worker[0] == NONE && MINE && mode == MIGRATING_MODE && half == WHOLE ->
        step("asks to hand over"); note_base(WORKER); worker[0] = HANDOVER }
#else
    /* on a later boot, too: it is the one thing that comes after a success */
    :: d_step { me == 0 && up[0] && migrates && succeeded && !primary[0] && worker[0] == NONE && owner == 0 && mode == MIGRATING_MODE && !HELD &&
        FORBIDDEN_HERE -> step("asks to hand over"); note_base(WORKER);
        worker[0] = (FORBIDDEN_AT_BOTH -> HANDOVER : HANDOVER_ALONE) }
#endif
    :: d_step { me == 0 && migrates && !succeeded && !job && worker[0] == NONE && MINE && mode == MIGRATING_MODE && !HELD &&
        LINKED && !primary[1] && half == NO_HALF && FORBIDDEN_AT_BOTH -> step("asks to take it back");
        note_base(WORKER); worker[0] = BACK; migrates = IS_OVER }
    /* its own swap, or somebody else's, as it reads it */
    :: d_step { me == 0 && migrates && (owner != 0 || mode != MIGRATING_MODE || (!owner_boot && !succeeded)) && !job && OVER ->
        step("notes that it migrates no more");
        migrates = 0; succeeded = 0;
        if :: worker[0] == HANDOVER + WON || worker[0] == HANDOVER_ALONE + WON || worker[0] == BACK + WON || worker[0] == MIGRATE + WON -> worker[0] = NONE :: else fi }
    /* Primary without a domain, and no migration: the guest starts from the disk */
    :: d_step { me == 0 && primary[0] && still[0] && !migrates && !job && MINE -> step("starts the guest from the disk");
        executes_here(); check() }
    :: d_step { me == 0 && primary[0] && still[0] && !migrates && !job -> step("demotes, without a guest");
        primary[0] = 0; frozen[0] = 0; still[0] = 0; check() }
    fi
}

#ifdef WEAK_RESUMED_BEFORE_DEMOTED
#define PEER_IS_SECONDARY true
#else
#define PEER_IS_SECONDARY !primary[0]
#endif
#ifdef WEAK_PROMOTED_BEFORE_IT_IS_IN_SYNC
#define BOTH_IN_SYNC CURRENT(1)
#else
#define BOTH_IN_SYNC (CURRENT(1) && !syncing && (peer_good[1] || ONLY_THERE(0)))
#endif
#ifdef WEAK_SECONDARY_IN_ANY_SESSION
#define SAME_SESSION true
#else
#define SAME_SESSION session
#endif
#ifdef WEAK_PROMOTED_WITHOUT_MIGRATING
#define READ_MIGRATING true
#else
#define READ_MIGRATING (mode == MIGRATING_MODE)
#endif
#ifdef WEAK_OWNS_IT_BY_WHATEVER
#define HANDED true
#else
#define HANDED handed
#endif

inline migrates_target() {
    if
    :: d_step { me == 1 && up[1] && !told_to && READ_MIGRATING && !primary[1] && worker[1] == NONE -> step("reads Migrating"); told_to = 1 }
    :: d_step { me == 1 && told_to && up[1] && !two[1] -> step("allows two Primaries"); two[1] = 1;
        if :: LINKED -> two[0] = 1 :: else fi }
    :: d_step { me == 1 && told_to && !primary[1] && worker[1] == NONE && BOTH_IN_SYNC && LINKED && (two[1] || !primary[0]) ->
        step("promotes, for a migration"); told_to = 0;
        primary[1] = 1; still[1] = 1; stale[1] = 0; session = 1; was_primary[1] = 0;
        if :: !peer_good[1] -> begins_generation(1) :: else fi; check() }
    :: d_step { me == 1 && told_to -> step("lets it be"); told_to = 0 }
    /* arm one: its kernel tells it. Whatever comes in between, it may act on it */
    :: d_step { me == 1 && primary[1] && still[1] && !sees && LINKED && PEER_IS_SECONDARY && SAME_SESSION ->
        step("its kernel tells that its peer is Secondary"); sees = 1 }
    :: d_step { me == 1 && still[1] && half == WHOLE && sees -> step("resumes the guest");
        half = NO_HALF; sees = 0; still[1] = 0; unowned = (owner == 0 && mode == MIGRATING_MODE);
        if :: EXECUTES(0) && !stale[1] -> stale[0] = 1 :: else fi; check() }
    /* its actuator starts again, or its events began anew: then it knows nothing of its session */
    :: d_step { me == 1 && (session || sees) -> step("begins to read events anew"); session = 0; sees = 0 }
#ifdef WEAK_WHAT_IS_SHOWN_FIRST_COUNTS
    :: d_step { me == 1 && primary[1] && still[1] && !session && !sees && LINKED && !primary[0] ->
        step("begins to read events anew: is shown that its peer is Secondary"); sees = 1 }
#endif
#ifdef WEAK_SESSION_BY_LOOKS
    :: d_step { me == 1 && session && !connected[1] -> step("looks: not connected"); session = 0 }
#endif
    /* arm two: it owns the mirror by this migration */
    :: d_step { me == 1 && still[1] && half == WHOLE && owner == 1 && owner_boot && HANDED ->
        step("owns it by this migration: resumes the guest");
        half = NO_HALF; sees = 0; still[1] = 0; if :: EXECUTES(0) && !stale[1] -> stale[0] = 1 :: else fi; check() }
    /* its half: its libvirt removes it, a timeout, or it sees that the job is over */
    :: d_step { me == 1 && half != NO_HALF -> step("destroys its half"); half = NO_HALF; stale[1] = 0 }
    :: d_step { me == 1 && primary[1] && still[1] && half == NO_HALF -> step("demotes: no domain of its own");
        primary[1] = 0; frozen[1] = 0; still[1] = 0; stale[1] = 0; session = 0;
#ifndef WEAK_TOLD_BEFORE_IT_PROMOTED
        sees = 0;
#endif
        check() }
    /* what it executes by arm one is not its own yet, and the source does not hand over */
    :: d_step { me == 1 && EXECUTES(1) && EXECUTES_UNOWNED && worker[1] == NONE && !HELD &&
        FORBIDDEN_HERE && CURRENT(1) -> step("asks to own what it executes"); note_base(WORKER);
        worker[1] = (IN_SYNC && FORBIDDEN_AT_BOTH && eligible[0] -> CLAIM_BOTH : CLAIM_ALONE) }
    :: d_step { me == 1 && EXECUTES(1) && (worker[1] == CLAIM_ALONE + WON || worker[1] == CLAIM_BOTH + WON) -> step("owns what it executes");
        note_won(WORKER); worker[1] = NONE }
#ifdef WEAK_TAKEOVER_RESUMES
    :: d_step { me == 1 && still[1] && half == WHOLE && worker[1] == NONE && !HELD && eligible[1] -> step("asks to own the mirror, with a half");
        note_base(WORKER); worker[1] = CLAIM_ALONE }
    :: d_step { me == 1 && still[1] && half == WHOLE && worker[1] == CLAIM_ALONE + WON -> step("owns it: resumes the guest");
        worker[1] = NONE; half = NO_HALF; still[1] = 0; if :: EXECUTES(0) && !stale[1] -> stale[0] = 1 :: else fi; check() }
#endif
    fi
}

/* File first, then kernel. Not while there are two and they are connected. */
inline forbids() {
    d_step { up[me] && two[me] && !(LINKED && primary[0] && primary[1]) && (me == 1 || !job) -> step("forbids two Primaries"); two[me] = 0;
        if :: LINKED -> two[peer] = 0 :: else fi }
}
