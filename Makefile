# reconciled: `make`, `make check`, `make demo`, `make install`. `make help` lists the rest.

PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR    ?= $(PREFIX)/lib/systemd/system
STATEDIR   ?= /var/lib/reconciled
DESTDIR    ?=

ifeq ($(origin CC),default)
CC      := gcc
endif
BUILD   ?= build
# `make V=1` shows the commands.
Q       := $(if $(V),,@)
VERSION := 0.1.0

PACKAGES         := libcurl jansson sqlite3 libsystemd inih libsodium
PACKAGES_SANDBOX := libmicrohttpd
PACKAGES_TEST    := cmocka

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
            -Wvla -Wformat=2 -Wundef
HARDEN   := -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE
LDHARDEN := -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed
ifdef SANITIZE
OPT      := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
LDOPT    := -fsanitize=address,undefined
else
OPT      := -O2 -D_FORTIFY_SOURCE=2
endif
CFLAGS   ?= -g
PC_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) $(PACKAGES_SANDBOX) $(PACKAGES_TEST) 2>/dev/null)
ALL_CFLAGS = -std=gnu17 $(OPT) $(CFLAGS) $(WARNINGS) $(HARDEN) -D_GNU_SOURCE \
             -DRECONCILED_VERSION='"$(VERSION)"' -DSYSCONFDIR='"$(SYSCONFDIR)"' \
             -Iinclude -Isrc $(PC_CFLAGS) -MMD -MP
LIBS         = $(shell pkg-config --libs $(PACKAGES))
LIBS_SANDBOX = $(shell pkg-config --libs $(PACKAGES_SANDBOX))
LIBS_TEST    = $(shell pkg-config --libs $(PACKAGES_TEST))

MAINS    := src/daemon/main.c src/ctl/main.c
LIB_SRC  := $(filter-out $(MAINS),$(wildcard src/*/*.c))
SANDBOX_SRC := $(wildcard tests/sandbox/*.c)
UNIT_SRC := $(wildcard tests/unit/test_*.c)
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
BENCH_SRC := $(wildcard tests/bench/*.c)
FAULT_SRC := $(wildcard tests/fault/*.c)
SIM_SRC  := $(wildcard tests/sim/*.c) tests/sandbox/rng.c
MIGRATIONS := $(sort $(wildcard migrations/*/*.sql))

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
LIB_OBJ := $(call obj,$(LIB_SRC)) $(BUILD)/obj/gen/migrations.o
LIB     := $(BUILD)/libreconciled.a
UNITS   := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(UNIT_SRC)) $(BUILD)/unit/test_faults
REPLAYS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(FUZZ_SRC))

comma   := ,

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all check check-run check-source check-unit check-integration demo demo-run install uninstall \
        deps deps-test deps-demo deps-system deps-deb check-system deb bench fuzz mutants format clean \
        help

all: $(BUILD)/reconciled $(BUILD)/reconctl $(BUILD)/ozura-sandbox

help:
	@echo 'make            build build/reconciled, build/reconctl, build/ozura-sandbox'
	@echo 'make demo       install what is missing, build, and run a busy day against the sandbox'
	@echo 'make check      install what is missing, build with sanitizers, run every test'
	@echo 'make check-long SIM_SEEDS (10000) simulated worlds, a million matchings, every single fault'
	@echo 'make check-source  layers, banned functions, headers, documented keys (compiles nothing)'
	@echo 'make check-system  boot a clean Debian, install there and test the real service (root)'
	@echo 'make deb        Debian packages, in build/deb'
	@echo 'make install    PREFIX, DESTDIR, SYSCONFDIR, UNITDIR, STATEDIR are honoured'
	@echo 'make bench      speed and memory on this machine'
	@echo 'make fuzz       run every fuzzer for FUZZ_SECONDS (60) each'
	@echo 'make mutants    break the source in one place at a time, and see a test fail'
	@echo 'make deps       install the Debian packages a build needs'
	@echo 'make clean'

# --- building ---------------------------------------------------------------

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	@pkg-config --exists $(PACKAGES) || { echo "libraries are missing: run 'make deps'" >&2; exit 1; }
	@echo "  CC    $<"
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

# The numbered SQL files as C strings, so that the programs need no files beside them.
$(BUILD)/gen/migrations.c: $(MIGRATIONS) migrations/embed.awk
	@mkdir -p $(@D)
	@awk -f migrations/embed.awk $(MIGRATIONS) >$@

$(BUILD)/obj/gen/migrations.o: $(BUILD)/gen/migrations.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(ALL_CFLAGS) -Wno-overlength-strings -c -o $@ $<

$(LIB): $(LIB_OBJ)
	@rm -f $@
	@$(AR) rcs $@ $^

$(BUILD)/reconciled: $(call obj,src/daemon/main.c) $(LIB)
	@echo "  LD    $@"
	$(Q)$(CC) $(OPT) $(LDOPT) $(LDHARDEN) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/reconctl: $(call obj,src/ctl/main.c) $(LIB)
	@echo "  LD    $@"
	$(Q)$(CC) $(OPT) $(LDOPT) $(LDHARDEN) $(LDFLAGS) -o $@ $^ $(LIBS)

# What its table of verbs says, for bash.
$(BUILD)/reconctl.bash: $(BUILD)/reconctl
	$(Q)$< --completion bash >$@

$(BUILD)/ozura-sandbox: $(call obj,$(SANDBOX_SRC)) $(LIB)
	@echo "  LD    $@"
	$(Q)$(CC) $(OPT) $(LDOPT) $(LDHARDEN) $(LDFLAGS) -o $@ $^ $(LIBS) $(LIBS_SANDBOX) -lm

$(BUILD)/unit/%: $(BUILD)/obj/tests/unit/%.o $(LIB)
	@mkdir -p $(@D)
	@echo "  LD    $@"
	$(Q)$(CC) $(OPT) $(LDOPT) $(LDHARDEN) $(LDFLAGS) -o $@ $^ $(LIBS) $(LIBS_TEST) -lm

# --- testing ----------------------------------------------------------------

check: deps-test
	@$(MAKE) --no-print-directory check-run

check-run:
	@$(MAKE) --no-print-directory check-source
	@$(MAKE) --no-print-directory BUILD=build/check SANITIZE=1 all units replays sim
	@BUILD=build/check tests/run

# Every call that asks the disk or memory for something, of the program and of SQLite, can fail.
FAULT_CALLS := malloc calloc realloc reallocarray strdup sodium_malloc open read write fsync rename \
               mkdir chmod fchmod

$(BUILD)/unit/test_faults: $(call obj,$(FAULT_SRC)) $(LIB)
	@mkdir -p $(@D)
	@echo "  LD    $@"
	$(Q)$(CC) $(OPT) $(LDOPT) $(LDHARDEN) $(LDFLAGS) $(addprefix -Wl$(comma)--wrap=,$(FAULT_CALLS)) \
	    -o $@ $^ $(LIBS) $(LIBS_TEST)

.PHONY: units replays sim check-long
units: $(UNITS)
replays: $(REPLAYS)
sim: $(BUILD)/sim

# The world simulator: a seed is a shop's day, and failing ones print themselves.
$(BUILD)/sim: $(call obj,$(SIM_SRC)) $(LIB)
	@echo "  LD    $@"
	$(Q)$(CC) $(OPT) $(LDOPT) $(LDHARDEN) $(LDFLAGS) -o $@ $^ $(LIBS)

SIM_SEEDS ?= 10000
check-long: deps-test
	@$(MAKE) --no-print-directory sim
	@$(BUILD)/sim --seeds $(SIM_SEEDS) --report
	@$(MAKE) --no-print-directory $(BUILD)/unit/test_match_oracle $(BUILD)/unit/test_faults
	@ORACLE_INSTANCES=1000000 $(BUILD)/unit/test_match_oracle
	@FAULTS=all $(BUILD)/unit/test_faults

check-source:
	@tests/check-source

# Corpus replay: the fuzz target with a main() that reads files, built like any test.
$(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(BUILD)/obj/tests/fuzz/replay.o $(LIB)
	@mkdir -p $(@D)
	@echo "  LD    $@"
	$(Q)$(CC) $(OPT) $(LDOPT) $(LDHARDEN) $(LDFLAGS) -o $@ $^ $(LIBS)

FUZZ_SECONDS ?= 60
fuzz:
	@tests/fuzz/run $(FUZZ_SECONDS)

# MUTANTS='ID ...' tries these alone.
mutants: deps-test
	@BUILD=$(BUILD) tests/mutants/run $(MUTANTS)

# The real service in a really booted systemd; needs root.
check-system: deps-system
	@$(MAKE) --no-print-directory all $(BUILD)/reconctl.bash $(BUILD)/system/probe deb
	@BUILD=$(BUILD) tests/system/run

$(BUILD)/system/probe: tests/system/probe.c
	@mkdir -p $(@D)
	@echo "  LD    $@"
	$(Q)$(CC) -std=gnu17 $(OPT) $(CFLAGS) $(WARNINGS) -D_GNU_SOURCE $(LDOPT) -o $@ $<

bench: deps-test all
	@tests/bench/run

demo: deps-demo
	@$(MAKE) --no-print-directory all
	@tests/demo

# --- packages ---------------------------------------------------------------

deps:
	@.ci/install-packages build
deps-demo:
	@.ci/install-packages demo
deps-test:
	@.ci/install-packages test
	@.ci/get-promtool
deps-system:
	@.ci/install-packages system
deps-deb:
	@.ci/install-packages deb

# --- installing -------------------------------------------------------------

MANDIR      := $(PREFIX)/share/man
SYSUSERSDIR := $(PREFIX)/lib/sysusers.d
TMPFILESDIR := $(PREFIX)/lib/tmpfiles.d
CATALOGDIR  := $(PREFIX)/lib/systemd/catalog
COMPLETIONDIR := $(PREFIX)/share/bash-completion/completions
CONFDIR     := $(SYSCONFDIR)/reconciled
MANPAGES    := $(wildcard docs/*.1 docs/*.5 docs/*.8)
SERVICES    := reconciled.service reconciled@.service
# The files in systemd/ have the default paths in them.
RELOCATE    := sed -e 's|/usr/local/sbin/reconciled|$(PREFIX)/sbin/reconciled|g' \
               -e 's|/etc/reconciled|$(CONFDIR)|g' -e 's|/var/lib/reconciled|$(STATEDIR)|g'

install: $(BUILD)/reconciled $(BUILD)/reconctl $(BUILD)/reconctl.bash
	$(Q)install -d $(addprefix $(DESTDIR),$(PREFIX)/sbin $(PREFIX)/bin $(UNITDIR) $(SYSUSERSDIR) \
	    $(TMPFILESDIR) $(CATALOGDIR) $(CONFDIR))
	$(Q)install -m 0755 $(BUILD)/reconciled $(DESTDIR)$(PREFIX)/sbin/reconciled
	$(Q)install -m 0755 $(BUILD)/reconctl $(DESTDIR)$(PREFIX)/bin/reconctl
	$(Q)for unit in $(SERVICES); do \
	    $(RELOCATE) systemd/$$unit | install -m 0644 /dev/stdin $(DESTDIR)$(UNITDIR)/$$unit || exit 1; \
	done
	$(Q)$(RELOCATE) systemd/reconciled.sysusers | \
	    install -m 0644 /dev/stdin $(DESTDIR)$(SYSUSERSDIR)/reconciled.conf
	$(Q)$(RELOCATE) systemd/reconciled.tmpfiles | \
	    install -m 0644 /dev/stdin $(DESTDIR)$(TMPFILESDIR)/reconciled.conf
	$(Q)install -m 0644 systemd/reconciled.catalog $(DESTDIR)$(CATALOGDIR)/reconciled.catalog
	$(Q)install -D -m 0644 $(BUILD)/reconctl.bash $(DESTDIR)$(COMPLETIONDIR)/reconctl
	$(Q)for page in $(MANPAGES); do \
	    install -D -m 0644 $$page $(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/} || exit 1; \
	done
	$(Q)test -e $(DESTDIR)$(CONFDIR)/reconciled.conf || \
	    $(RELOCATE) systemd/reconciled.conf | \
	    install -m 0644 /dev/stdin $(DESTDIR)$(CONFDIR)/reconciled.conf
	$(Q)systemd/settle "$(DESTDIR)" $(BUILD)/reconciled $(abspath $(DESTDIR)$(STATEDIR)) \
	    $(SYSUSERSDIR)/reconciled.conf $(TMPFILESDIR)/reconciled.conf
	@echo 'Installed below $(DESTDIR)$(PREFIX), configuration in $(DESTDIR)$(CONFDIR).'

# The configuration, the ledger and the queue stay.
uninstall:
	$(Q)rm -f $(addprefix $(DESTDIR),$(PREFIX)/sbin/reconciled $(PREFIX)/bin/reconctl \
	    $(SERVICES:%=$(UNITDIR)/%) $(SYSUSERSDIR)/reconciled.conf $(TMPFILESDIR)/reconciled.conf \
	    $(CATALOGDIR)/reconciled.catalog $(COMPLETIONDIR)/reconctl \
	    $(foreach page,$(notdir $(MANPAGES)),$(MANDIR)/man$(patsubst .%,%,$(suffix $(page)))/$(page)))

# Debian packages in $(BUILD)/deb, made from a copy of the tree.
deb: deps-deb
	@.ci/make-deb $(BUILD)/deb $(VERSION)

format:
	clang-format -i $(wildcard src/*/*.[ch] include/*/*.h tests/*/*.[ch])

clean:
	rm -rf build

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
