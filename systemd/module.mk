# Units, their user and their directories, and the configuration file they start with.
sysusersdir = $(prefix)/lib/sysusers.d
tmpfilesdir = $(prefix)/lib/tmpfiles.d

systemd_units = systemd/holdfast.service systemd/holdfast@.service
nodist_systemdsystemunit_DATA = $(systemd_units)
CLEANFILES += $(systemd_units)
EXTRA_DIST += systemd/holdfast.service.in systemd/holdfast@.service.in systemd/hardening.conf systemd/sysusers.conf \
	systemd/tmpfiles.conf packaging/holdfast.conf

# Installation directories are known to make only, so config.status cannot do this.
fill_unit = $(AM_V_GEN)$(MKDIR_P) systemd && $(SED) -e 's|@bindir[@]|$(bindir)|g' -e 's|@sysconfdir[@]|$(sysconfdir)|g' \
	-e '/^@hardening[@]/ { r $(srcdir)/systemd/hardening.conf' -e 'd }' $(srcdir)/$@.in >$@.tmp && mv $@.tmp $@
systemd/holdfast.service: systemd/holdfast.service.in systemd/hardening.conf Makefile
	$(fill_unit)
systemd/holdfast@.service: systemd/holdfast@.service.in systemd/hardening.conf Makefile
	$(fill_unit)

install-data-local:
	$(MKDIR_P) '$(DESTDIR)$(sysusersdir)' '$(DESTDIR)$(tmpfilesdir)' '$(DESTDIR)$(sysconfdir)/holdfast'
	$(INSTALL_DATA) $(srcdir)/systemd/sysusers.conf '$(DESTDIR)$(sysusersdir)/holdfast.conf'
	$(INSTALL_DATA) $(srcdir)/systemd/tmpfiles.conf '$(DESTDIR)$(tmpfilesdir)/holdfast.conf'
	test -f '$(DESTDIR)$(sysconfdir)/holdfast/holdfast.conf' || \
		$(INSTALL_DATA) $(srcdir)/packaging/holdfast.conf '$(DESTDIR)$(sysconfdir)/holdfast/holdfast.conf'

# A configuration that somebody changed stays.
uninstall-local:
	rm -f '$(DESTDIR)$(sysusersdir)/holdfast.conf' '$(DESTDIR)$(tmpfilesdir)/holdfast.conf'
	if cmp -s $(srcdir)/packaging/holdfast.conf '$(DESTDIR)$(sysconfdir)/holdfast/holdfast.conf'; then \
		rm -f '$(DESTDIR)$(sysconfdir)/holdfast/holdfast.conf'; fi
