/*
 * A fence agent's word: is a host switched off only once it may run nothing, and does a guest ever run
 * in two places when another host takes over on that word alone, without any wait of its own?
 *
 * Host A runs the guest. It may by its heartbeat, or by the link to B. Controller C counts since it saw
 * A's last heartbeat, B since A's last packet came. C has A switched off, asks whether it is off, and writes
 * that down; B takes over on it. Each counts on a clock of its own, which advances in each tick by SLOW or FAST.
 * There is no watchdog: A stops its guest whenever it likes, or never. Written from docs/timing.md, rules 10
 * and 13 of docs/protocol.md and docs/design/2026-11-30-fence-agents.md; not from the program.
 *
 * Nothing has to happen. The agent says that it has switched A off before it has; and A is switched on, loses its
 * power, and begins anew as it likes.
 */

#define R 3             /* selfFenceSeconds */
#define LINK 3          /* linkDetectionSeconds + queryFreshnessSeconds */
#define SLOW 2
#define FAST 3
#define RATIO(x) ((3 * (x) + 1) / 2)
#define MARGIN 3        /* no less than a tick */
#define BOOTS 2

#ifdef WEAK_ASKED_EARLY
#define HEARTBEAT_WAIT R
#else
#define HEARTBEAT_WAIT (RATIO(R) + MARGIN)
#endif
#ifdef WEAK_ASKED_WHILE_LINKED
#define LINK_OVER true
#else
#ifdef WEAK_LINK_NOT_WAITED_FOR
#define LINK_OVER b_lost
#else
#define LINK_OVER (b_lost && last >= RATIO(LINK) + MARGIN)
#endif
#endif

#define step(text) printf("\n  "); printf(text)

/* host A, by its clock */
byte boot = 1;
bit  off;
bit  a_runs = 1;
byte renewed;           /* since its last confirmed heartbeat was sent */
byte asked;             /* since the one under way was */
bit  asking;
bit  arrived;           /* it was carried out */
byte proven;            /* since the last look after which a packet has arrived */
byte looked;            /* since the look whose packet is under way */
bit  looking;
bit  received;          /* that packet has come to B */

/* the Lease, and the owner */
byte lease_boot = 1;
byte owner_boot = 1;    /* 0: B is the owner */
bit  b_runs;

/* B, by its clock */
byte last;              /* since A's last packet came */
bit  b_lost;            /* its kernel has lost the link */

/* C, by its clock */
byte unchanged;
bit  newer;             /* the Lease is another than C has read */
bit  sent;              /* off was, and is to be carried out */
bit  said;              /* the agent has said that it did */
byte about;             /* the boot that this was about */
byte word;              /* the boot that is said to be off; 0: none */

#define MAY_RUN (renewed < R || proven < LINK)
/* More than is asked for is no more than that. */
#define up(x, by, most) x = (x + by > most -> most : x + by)

inline check() { assert(!(a_runs && b_runs)) }

#define HEARTBEAT_MOST (RATIO(R) + MARGIN)
#define LINK_MOST (RATIO(LINK) + MARGIN)

inline ages(by) {
    up(renewed, by, R); up(proven, by, LINK);
    if :: asking -> up(asked, by, R) :: else fi;
    if :: looking -> up(looked, by, LINK) :: else fi
}

inline counts(by) { up(last, by, LINK_MOST); up(unchanged, by, HEARTBEAT_MOST) }

inline tick() {
    if
    :: d_step { step("A's clock is slow"); ages(SLOW); counts(FAST) }
    :: d_step { step("A's clock is fast"); ages(FAST); counts(SLOW) }
    :: d_step { step("all clocks are fast"); ages(FAST); counts(FAST) }
    fi
}

inline ends() { a_runs = 0; asking = 0; looking = 0; arrived = 0; received = 0 }

inline host() {
    if
    :: d_step { !off && !asking -> step("A sends a heartbeat"); asking = 1; asked = 0 }
    :: d_step { asking && !arrived -> step("it is carried out"); arrived = 1; newer = 1; lease_boot = boot }
    :: d_step { asking && arrived -> step("it is confirmed"); renewed = asked; asking = 0; arrived = 0; asked = 0 }
    :: d_step { asking -> step("A gives it up"); asking = 0; arrived = 0; asked = 0 }
    :: d_step { !off && !looking -> step("A looks at the link, and sends"); looking = 1; looked = 0 }
    :: d_step { looking && !received && !b_lost -> step("a packet comes to B"); received = 1; last = 0 }
    :: d_step { looking && received -> step("A hears that it came"); proven = looked; looking = 0; received = 0; looked = 0 }
    :: d_step { looking -> step("it is lost"); looking = 0; received = 0; looked = 0 }
    :: d_step { a_runs -> step("A stops its guest"); a_runs = 0 }
    :: d_step { !off -> step("A loses its power"); ends(); off = 1 }
    :: d_step { off && boot < BOOTS -> step("A boots"); off = 0; boot++; renewed = R; proven = LINK }
    /* by its own claim on this boot, whose heartbeat counts */
    :: d_step { !off && !a_runs && owner_boot != 0 && renewed < R -> step("A starts its guest");
        owner_boot = boot; a_runs = 1; check() }
    fi
}

inline switching() {
    if
    :: d_step { newer -> step("C reads another heartbeat"); newer = 0; unchanged = 0; said = 0 }
    :: d_step { !newer && !sent && unchanged >= HEARTBEAT_WAIT && LINK_OVER && owner_boot == lease_boot ->
        step("C has A switched off"); assert(!a_runs || boot != lease_boot || !MAY_RUN);
        sent = 1; said = 0; about = lease_boot }
    :: d_step { sent && !off -> step("A is switched off"); ends(); off = 1; sent = 0 }
    :: d_step { sent && off -> step("A is off already"); sent = 0 }
    :: d_step { about != 0 && !said && unchanged >= HEARTBEAT_WAIT -> step("the agent says: done"); said = 1 }
#ifdef WEAK_BELIEVED_WITHOUT_STATUS
    :: d_step { said && !newer && lease_boot == about -> step("and is believed"); word = about }
#endif
#ifdef ANOTHER_MACHINE
    :: d_step { said && !newer && lease_boot == about -> step("the agent says: off"); word = about }
#endif
    :: d_step { said && off && !newer && lease_boot == about -> step("the agent says: off"); word = about }
    fi
}

#ifdef WEAK_WORD_OF_AN_EARLIER_BOOT
#define PROVES (word != 0)
#else
#define PROVES (word == owner_boot)
#endif

inline taker() {
    if
    :: d_step { b_lost = 1 - b_lost; step("B's kernel sees the link otherwise") }
    :: d_step { word != 0 && PROVES && b_lost && owner_boot != 0 && !newer -> step("B takes over");
        owner_boot = 0; b_runs = 1; check() }
    fi
#ifdef NEVER_TAKEN
    ; assert(!b_runs)
#endif
}

active proctype System() {
end: do
    :: tick()
    :: host()
    :: switching()
    :: taker()
    od
}
