-- What a catalog promises, as rows: promise (has, is, same, grows, not), key, parent's key, text,
-- value. See migrations/facts.py. After a group's name stand the system catalogs that it is read
-- from; one with a plus sign counts also if rows are only added to it.
-- Names with a dollar sign are defined in facts.py.

-- group schemas: pg_namespace
SELECT 'has', 'n' || n.oid, '',
    'schema ' || n.nspname,
    n.nspname::text
FROM pg_namespace n
WHERE $users;
SELECT 'is', 'n' || n.oid || '.owner', 'n' || n.oid,
    'the owner of schema ' || n.nspname,
    CASE n.nspowner WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(n.nspowner)::text END
FROM pg_namespace n
WHERE $users;
SELECT 'has', 'n' || n.oid || '.acl.' || g.grantee || '.' || g.privilege_type, 'n' || n.oid,
    g.privilege_type || ' on ' || 'schema ' || n.nspname || ' for ' || CASE g.grantee WHEN 0
        THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee)::text END,
    ''
FROM pg_namespace n, $trial.grants(coalesce(n.nspacl, acldefault('n', n.nspowner))) g
WHERE g.grantee <> n.nspowner AND $users;
SELECT 'not', 'n' || n.oid || '.acl-' || d.privilege_type, 'n' || n.oid,
    'takes ' || d.privilege_type || ' on ' || 'schema ' || n.nspname || ' from its owner',
    ''
FROM pg_namespace n, aclexplode(acldefault('n', n.nspowner)) d
WHERE n.nspacl IS NOT NULL AND d.grantee = n.nspowner AND $users AND NOT EXISTS (
    SELECT FROM aclexplode(n.nspacl) g
    WHERE g.grantee = n.nspowner AND g.privilege_type = d.privilege_type);

-- group relations: pg_class pg_namespace
SELECT 'has', 'r' || c.oid, 'n' || c.relnamespace,
    $kind || ' ' || $relation,
    $relation
FROM $relations;
SELECT 'is', 'r' || c.oid || '.owner', 'r' || c.oid,
    'the owner of ' || $relation,
    CASE c.relowner WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(c.relowner)::text END
FROM $relations;
SELECT 'grows', 'r' || c.oid || '.persistence', 'r' || c.oid,
    'the persistence of ' || $relation,
    CASE c.relpersistence WHEN 'p' THEN 'UNLOGGED,LOGGED' ELSE 'UNLOGGED' END
FROM $relations;
SELECT 'is', 'r' || c.oid || '.replica', 'r' || c.oid,
    'the replica identity of ' || $relation,
    CASE c.relreplident WHEN 'd' THEN 'DEFAULT' WHEN 'n' THEN 'NOTHING' WHEN 'f' THEN 'FULL'
        ELSE 'an index' END
FROM $relations
WHERE c.relkind IN ('r', 'p');
SELECT 'is', 'r' || c.oid || '.options', 'r' || c.oid,
    'the options of ' || $relation,
    coalesce(nullif(array_to_string(c.reloptions, ', '), ''), 'none')
FROM $relations
WHERE c.relkind = 'v';
SELECT 'has', 'r' || c.oid || '.rls', 'r' || c.oid,
    'row level security of ' || $relation,
    ''
FROM $relations
WHERE c.relrowsecurity;
SELECT 'not', 'r' || c.oid || '.rls+', 'r' || c.oid,
    'enables row level security on ' || $relation,
    ''
FROM $relations
WHERE c.relrowsecurity;
SELECT 'has', 'r' || c.oid || '.force', 'r' || c.oid,
    'forced row level security of ' || $relation,
    ''
FROM $relations
WHERE c.relforcerowsecurity;
SELECT 'not', 'r' || c.oid || '.force+', 'r' || c.oid,
    'forces row level security on ' || $relation,
    ''
FROM $relations
WHERE c.relforcerowsecurity;
SELECT 'has', 'r' || c.oid || '.acl.' || g.grantee || '.' || g.privilege_type, 'r' || c.oid,
    g.privilege_type || ' on ' || $relation || ' for ' || CASE g.grantee WHEN 0 THEN 'PUBLIC'
        ELSE pg_get_userbyid(g.grantee)::text END,
    ''
FROM $relations, $trial.grants(coalesce(c.relacl, acldefault('r', c.relowner))) g
WHERE g.grantee <> c.relowner AND c.relkind <> 'S';
SELECT 'has', 'r' || c.oid || '.acl.' || g.grantee || '.' || g.privilege_type, 'r' || c.oid,
    g.privilege_type || ' on ' || $relation || ' for ' || CASE g.grantee WHEN 0 THEN 'PUBLIC'
        ELSE pg_get_userbyid(g.grantee)::text END,
    ''
FROM $relations, $trial.grants(coalesce(c.relacl, acldefault('s', c.relowner))) g
WHERE g.grantee <> c.relowner AND c.relkind = 'S';
SELECT 'not', 'r' || c.oid || '.acl-' || d.privilege_type, 'r' || c.oid,
    'takes ' || d.privilege_type || ' on ' || $relation || ' from its owner',
    ''
FROM $relations, aclexplode(acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)) d
WHERE c.relacl IS NOT NULL AND d.grantee = c.relowner AND NOT EXISTS (
    SELECT FROM aclexplode(c.relacl) g
    WHERE g.grantee = c.relowner AND g.privilege_type = d.privilege_type);

-- group columns: pg_attribute pg_attrdef pg_type
SELECT 'has', $column_key, 'r' || a.attrelid,
    'column ' || $column,
    a.attname::text
FROM $columns AND c.relkind <> 'S';
SELECT 'is', $column_key || '.type', $column_key,
    'the type of column ' || $column,
    format_type(a.atttypid, a.atttypmod) || coalesce(' COLLATE ' || nullif(a.attcollation,
        0)::regcollation::text, '')
FROM $columns AND c.relkind <> 'S';
SELECT 'not', $column_key || '.null+', $column_key,
    'forbids NULL in ' || $column,
    ''
FROM $columns AND a.attnotnull AND c.relkind IN ('r','p','f');
SELECT 'has', $column_key || '.null', $column_key,
    'NOT NULL of ' || $column,
    ''
FROM $columns AND a.attnotnull AND c.relkind IN ('r','p','f');
SELECT 'not', $column_key || '.required+', 'r' || a.attrelid,
    'adds ' || $column || ', which every INSERT would have to fill',
    ''
FROM $columns AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND c.relkind IN
        ('r','p','f') JOIN pg_type y ON y.oid = a.atttypid AND y.typdefault IS NULL;
SELECT 'has', $column_key || '.acl.' || g.grantee || '.' || g.privilege_type, $column_key,
    g.privilege_type || ' on column ' || $column || ' for ' || CASE g.grantee WHEN 0 THEN
        'PUBLIC' ELSE pg_get_userbyid(g.grantee)::text END,
    ''
FROM $columns, $trial.grants(a.attacl) g
WHERE g.grantee <> c.relowner;

SELECT 'not', $column_key || '+', 'r' || a.attrelid,
    'adds ' || $column || ', which the values of others lack',
    ''
FROM $columns AND c.relkind = 'c';

-- group defaults: pg_attrdef pg_attribute
SELECT 'is', $column_key || '.default', $column_key,
    CASE WHEN a.attidentity <> '' THEN 'the identity' WHEN a.attgenerated <> ''
        THEN 'the generation' ELSE 'the default' END || ' of ' || $column,
    CASE a.attidentity WHEN 'a' THEN 'ALWAYS' WHEN 'd' THEN 'BY DEFAULT'
        ELSE pg_get_expr(f.adbin, f.adrelid) END
FROM $columns AND c.relkind IN ('r','p','f','v')
LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
WHERE a.atthasdef OR a.attidentity <> '';
SELECT 'not', $column_key || '.always+', $column_key,
    'lets nobody write a value to ' || $column || ' (GENERATED ALWAYS)',
    ''
FROM $columns AND a.attidentity = 'a';

-- group constraints: pg_constraint
SELECT 'has', 'k' || k.oid, CASE WHEN k.conrelid <> 0 THEN 'r' || k.conrelid ELSE 't' ||
        k.contypid END,
    'constraint ' || k.conname || ' of ' || CASE WHEN k.conrelid <> 0 THEN
        k.conrelid::regclass::text ELSE k.contypid::regtype::text END,
    k.conname::text
FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace AND $users
WHERE k.contype IN ('c','f','p','u','x') AND k.conparentid = 0;
SELECT 'is', 'k' || k.oid || '.def', 'k' || k.oid,
    'constraint ' || k.conname || ' of ' || k.conrelid::regclass::text,
    regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '')
FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace AND $users
WHERE k.contype IN ('c','f','p','u','x') AND k.conrelid <> 0 AND k.conparentid = 0;

-- group indexes: pg_index
SELECT 'has', 'u' || i.indrelid || md5(d.def), 'r' || i.indrelid,
    'the uniqueness of ' || i.indrelid::regclass::text || d.def,
    ''
FROM pg_index i JOIN $relations ON c.oid = i.indrelid
CROSS JOIN LATERAL (SELECT substring(pg_get_indexdef(i.indexrelid) from ' USING .*$')) d(def)
WHERE i.indisunique AND i.indisvalid AND i.indisready AND i.indimmediate
GROUP BY 2, 3, 4;

-- group partitions: pg_inherits
SELECT 'has', 'i' || i.inhrelid || '.' || i.inhparent, 'r' || i.inhrelid,
    i.inhrelid::regclass::text || ' as a part of ' || i.inhparent::regclass::text,
    ''
FROM pg_inherits i JOIN $relations ON c.oid = i.inhrelid;

-- group triggers: pg_trigger
SELECT 'has', 'g' || g.oid, 'r' || g.tgrelid,
    'trigger ' || g.tgname || ' of ' || $relation,
    g.tgname::text
FROM pg_trigger g JOIN $relations ON c.oid = g.tgrelid
WHERE NOT g.tgisinternal AND g.tgname <> '$trial';
SELECT 'is', 'g' || g.oid || '.enabled', 'g' || g.oid,
    'when trigger ' || g.tgname || ' of ' || $relation || ' fires',
    CASE g.tgenabled WHEN 'O' THEN 'enabled' WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica'
        ELSE 'always' END
FROM pg_trigger g JOIN $relations ON c.oid = g.tgrelid
WHERE NOT g.tgisinternal AND g.tgname <> '$trial';
SELECT 'same', 'g' || g.oid || '.def', 'g' || g.oid,
    'the definition of trigger ' || g.tgname || ' of ' || $relation,
    pg_get_triggerdef(g.oid)
FROM pg_trigger g JOIN $relations ON c.oid = g.tgrelid
WHERE NOT g.tgisinternal AND g.tgname <> '$trial';

-- group policies: pg_policy pg_policy+
SELECT 'has', 'p' || p.oid, 'r' || p.polrelid,
    'policy ' || p.polname || ' of ' || $relation,
    p.polname::text
FROM pg_policy p JOIN $relations ON c.oid = p.polrelid;
SELECT 'is', 'p' || p.oid || '.def', 'p' || p.oid,
    'policy ' || p.polname || ' of ' || $relation,
    concat_ws(' ', p.polcmd, p.polroles::regrole[]::text, pg_get_expr(p.polqual, p.polrelid),
        '/', pg_get_expr(p.polwithcheck, p.polrelid))
FROM pg_policy p JOIN $relations ON c.oid = p.polrelid;
SELECT 'not', 'p' || p.oid || '.restrictive+', 'r' || p.polrelid,
    'adds restrictive policy ' || p.polname || ' to ' || $relation,
    ''
FROM pg_policy p JOIN $relations ON c.oid = p.polrelid
WHERE NOT p.polpermissive;

-- group rules: pg_rewrite pg_rewrite+
SELECT 'has', 'w' || w.oid, 'r' || w.ev_class,
    'rule ' || w.rulename || ' of ' || $relation,
    w.rulename::text
FROM pg_rewrite w JOIN $relations ON c.oid = w.ev_class
WHERE w.rulename <> '_RETURN';
SELECT 'not', 'w' || w.oid || '+', 'r' || w.ev_class,
    'adds rule ' || w.rulename || ' to ' || $relation,
    ''
FROM pg_rewrite w JOIN $relations ON c.oid = w.ev_class
WHERE w.rulename <> '_RETURN';

SELECT 'same', 'w' || w.oid || '.def', 'w' || w.oid,
    'rule ' || w.rulename || ' of ' || $relation,
    concat_ws(' ', w.ev_enabled, pg_get_ruledef(w.oid))
FROM pg_rewrite w JOIN $relations ON c.oid = w.ev_class
WHERE w.rulename <> '_RETURN';

-- group views: pg_rewrite
SELECT 'grows', 'r' || c.oid || '.columns', 'r' || c.oid,
    'the columns of view ' || $relation,
    rtrim(split_part(pg_get_viewdef(c.oid), E'\n   FROM ', 1), ';')
FROM $relations
WHERE c.relkind = 'v';
SELECT 'same', 'r' || c.oid || '.from', 'r' || c.oid,
    'the rows of view ' || $relation,
    substring(pg_get_viewdef(c.oid) FROM E'\n   FROM .*$')
FROM $relations
WHERE c.relkind = 'v';

-- group types: pg_type pg_enum pg_namespace
SELECT 'has', 't' || t.oid, 'n' || t.typnamespace,
    $type,
    n.nspname || '.' || t.typname
FROM $types;
SELECT 'is', 't' || t.oid || '.owner', 't' || t.oid,
    'the owner of ' || $type,
    CASE t.typowner WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(t.typowner)::text END
FROM $types;
SELECT 'not', 't' || t.oid || '.null+', 't' || t.oid,
    'forbids NULL in ' || $type,
    ''
FROM $types AND t.typnotnull;
SELECT 'has', 't' || t.oid || '.null', 't' || t.oid,
    'NOT NULL of ' || $type,
    ''
FROM $types AND t.typnotnull;
SELECT 'is', 't' || t.oid || '.default', 't' || t.oid,
    'the default of ' || $type,
    t.typdefault
FROM $types AND t.typdefault IS NOT NULL;
SELECT 'has', 'e' || e.oid, 't' || e.enumtypid,
    'value ' || e.enumlabel || ' of ' || $type,
    e.enumlabel::text
FROM pg_enum e JOIN $types ON t.oid = e.enumtypid;
SELECT 'has', 't' || t.oid || '.acl.' || g.grantee || '.' || g.privilege_type, 't' || t.oid,
    g.privilege_type || ' on ' || $type || ' for ' || CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE
        pg_get_userbyid(g.grantee)::text END,
    ''
FROM $types, $trial.grants(coalesce(t.typacl, acldefault('T', t.typowner))) g
WHERE g.grantee <> t.typowner;

-- group functions: pg_proc pg_namespace
SELECT 'has', 'f' || p.oid, 'n' || p.pronamespace,
    'function ' || $function,
    $function
FROM $functions;
SELECT 'is', 'f' || p.oid || '.result', 'f' || p.oid,
    'the result of ' || $function,
    coalesce(pg_get_function_result(p.oid), '')
FROM $functions;
SELECT 'is', 'f' || p.oid || '.rights', 'f' || p.oid,
    'the rights of ' || $function,
    CASE WHEN p.prosecdef THEN 'SECURITY DEFINER' ELSE 'SECURITY INVOKER' END
FROM $functions;
SELECT 'is', 'f' || p.oid || '.options', 'f' || p.oid,
    'the options of ' || $function,
    concat_ws(', ', CASE WHEN p.proisstrict THEN 'STRICT' ELSE 'CALLED ON NULL INPUT' END,
        CASE WHEN p.proleakproof THEN 'LEAKPROOF' END, array_to_string(p.proconfig, ', '))
FROM $functions;
SELECT 'has', 'f' || p.oid || '.immutable', 'f' || p.oid,
    'IMMUTABLE of ' || $function,
    ''
FROM $functions AND p.provolatile = 'i';
SELECT 'same', 'f' || p.oid || '.body', 'f' || p.oid,
    'the body of ' || $function || ', which ' || d."user" || ' uses',
    md5(p.prosrc || coalesce(p.probin, ''))
FROM $functions
CROSS JOIN LATERAL (SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend d
    WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid AND d.deptype IN ('n', 'a')
    AND d.classid <> 'pg_proc'::regclass LIMIT 1) d("user");
SELECT 'is', 'f' || p.oid || '.owner', 'f' || p.oid,
    'the owner of ' || $function,
    CASE p.proowner WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(p.proowner)::text END
FROM $functions;
SELECT 'has', 'f' || p.oid || '.acl.' || g.grantee || '.' || g.privilege_type, 'f' || p.oid,
    g.privilege_type || ' on ' || $function || ' for ' || CASE g.grantee WHEN 0 THEN 'PUBLIC'
        ELSE pg_get_userbyid(g.grantee)::text END,
    ''
FROM $functions, $trial.grants(coalesce(p.proacl, acldefault('f', p.proowner))) g
WHERE g.grantee <> p.proowner;
SELECT 'not', 'f' || p.oid || '.acl-' || d.privilege_type, 'f' || p.oid,
    'takes ' || d.privilege_type || ' on ' || $function || ' from its owner',
    ''
FROM $functions, aclexplode(acldefault('f', p.proowner)) d
WHERE p.proacl IS NOT NULL AND d.grantee = p.proowner AND NOT EXISTS (
    SELECT FROM aclexplode(p.proacl) g
    WHERE g.grantee = p.proowner AND g.privilege_type = d.privilege_type);

-- group sequences: pg_sequence
SELECT 'is', 'q' || s.seqrelid, 'r' || s.seqrelid,
    'the range of ' || $relation,
    s.seqmin || ' to ' || s.seqmax || ' by ' || s.seqincrement
        || CASE WHEN s.seqcycle THEN ', from the beginning again' ELSE '' END
FROM pg_sequence s JOIN $relations ON c.oid = s.seqrelid;

-- group roles: pg_authid pg_auth_members pg_db_role_setting pg_db_role_setting+ pg_default_acl pg_default_acl+
SELECT 'has', 'o' || r.oid, '',
    'role ' || r.rolname,
    r.rolname::text
FROM pg_roles r
WHERE r.rolname !~ '^pg_';
SELECT 'is', 'o' || r.oid || '.login', 'o' || r.oid,
    'the attributes of role ' || r.rolname,
    concat_ws(' ', CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END, CASE WHEN
        r.rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END, CASE WHEN r.rolbypassrls THEN
        'BYPASSRLS' END, CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN
        r.rolcreatedb THEN 'CREATEDB' END, 'CONNECTION LIMIT ' || nullif(r.rolconnlimit, -1),
        'VALID UNTIL ' || r.rolvaliduntil)
FROM pg_roles r
WHERE r.rolname !~ '^pg_';
SELECT 'has', 'm' || m.roleid || '.' || m.member, 'o' || m.member,
    'membership of ' || pg_get_userbyid(m.member) || ' in ' || pg_get_userbyid(m.roleid),
    ''
FROM pg_auth_members m
GROUP BY m.roleid, m.member;
SELECT 'not', 'z' || s.setdatabase || '.' || s.setrole || '.' || s.setconfig::text, '',
    'sets ' || array_to_string(s.setconfig, ', ') || ' for other sessions',
    ''
FROM pg_db_role_setting s;
SELECT 'has', 'd' || d.oid || '.' || g.grantee || '.' || g.privilege_type, '',
    'default privilege ' || g.privilege_type || ' for ' || CASE g.grantee WHEN 0 THEN 'PUBLIC'
        ELSE pg_get_userbyid(g.grantee)::text END,
    ''
FROM pg_default_acl d, $trial.grants(d.defaclacl) g
WHERE g.grantee <> d.defaclrole;
SELECT 'not', 'd' || d.defaclrole || '.' || d.defaclobjtype::text || '-' || g.grantee || '.'
        || g.privilege_type, '',
    'takes default privilege ' || g.privilege_type || ' from '
        || CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee)::text END,
    ''
FROM pg_default_acl d, aclexplode(acldefault(CASE d.defaclobjtype WHEN 'S' THEN 's'
    ELSE d.defaclobjtype END, d.defaclrole)) g
WHERE d.defaclnamespace = 0 AND NOT EXISTS (SELECT FROM aclexplode(d.defaclacl) e
    WHERE e.grantee = g.grantee AND e.privilege_type = g.privilege_type);

-- group passwords: pg_authid
SELECT 'same', 'o' || r.oid || '.password', 'o' || r.oid,
    'the password of role ' || r.rolname,
    md5(coalesce(r.rolpassword, ''))
FROM pg_authid r
WHERE r.rolname !~ '^pg_';

-- group extensions: pg_extension
SELECT 'has', 'x' || x.oid, '',
    'extension ' || x.extname,
    x.extname::text
FROM pg_extension x;
SELECT 'is', 'x' || x.oid || '.schema', 'x' || x.oid,
    'the schema of extension ' || x.extname,
    x.extnamespace::regnamespace::text
FROM pg_extension x;

-- group publications: pg_publication pg_publication_rel pg_publication_namespace pg_publication+ pg_publication_rel+ pg_publication_namespace+
SELECT 'has', 'b' || b.oid, '',
    'publication ' || b.pubname,
    b.pubname::text
FROM pg_publication b;
SELECT 'has', 'b' || b.oid || '.' || e.event, 'b' || b.oid,
    e.event || ' from publication ' || b.pubname,
    ''
FROM pg_publication b CROSS JOIN LATERAL (VALUES ('INSERT', b.pubinsert), ('UPDATE', b.pubupdate),
    ('DELETE', b.pubdelete), ('TRUNCATE', b.pubtruncate)) e(event, published)
WHERE e.published;
SELECT 'has', 'b' || l.prpubid || '.' || l.prrelid, 'b' || l.prpubid,
    $relation || ' from publication ' || b.pubname,
    ''
FROM pg_publication_rel l JOIN pg_publication b ON b.oid = l.prpubid
JOIN $relations ON c.oid = l.prrelid;
SELECT 'same', 'b' || l.prpubid || '.' || l.prrelid || '.part', 'b' || l.prpubid,
    'what publication ' || b.pubname || ' takes of ' || $relation,
    concat_ws(' ', to_jsonb(l) ->> 'prqual', to_jsonb(l) ->> 'prattrs')
FROM pg_publication_rel l JOIN pg_publication b ON b.oid = l.prpubid
JOIN $relations ON c.oid = l.prrelid;
SELECT 'has', 'b' || b.oid || '.all.' || v.tablename || '.' || v.schemaname, 'b' || b.oid,
    v.schemaname || '.' || v.tablename || ' from publication ' || b.pubname,
    ''
FROM pg_publication_tables v JOIN pg_publication b ON b.pubname = v.pubname
JOIN $relations ON c.relname = v.tablename AND n.nspname = v.schemaname
WHERE NOT EXISTS (SELECT FROM pg_publication_rel l WHERE l.prpubid = b.oid AND l.prrelid = c.oid);
SELECT 'not', 'r' || c.oid || '.published+', 'r' || c.oid,
    'makes UPDATE and DELETE of ' || $relation
        || ' fail, which is published without a replica identity',
    ''
FROM $relations AND c.relkind = 'r' AND EXISTS (SELECT FROM pg_publication_tables v
    JOIN pg_publication b ON b.pubname = v.pubname AND (b.pubupdate OR b.pubdelete)
    WHERE v.tablename = c.relname AND v.schemaname = n.nspname)
WHERE c.relreplident = 'n' OR c.relreplident = 'd' AND NOT EXISTS (
    SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary);

-- group servers: pg_foreign_server pg_user_mapping pg_foreign_table
SELECT 'has', 'v' || m.umid, '',
    'the user mapping of ' || m.usename || ' for server ' || m.srvname,
    m.usename::text
FROM pg_user_mappings m;
SELECT 'same', 'v' || m.umid || '.' || split_part(o.option, '=', 1), 'v' || m.umid,
    'option ' || split_part(o.option, '=', 1) || ' of the user mapping of ' || m.usename
        || ' for server ' || m.srvname,
    md5(o.option)
FROM pg_user_mappings m, unnest(m.umoptions) o(option);
SELECT 'same', 'r' || c.oid || '.' || split_part(o.option, '=', 1), 'r' || c.oid,
    'option ' || split_part(o.option, '=', 1) || ' of foreign table ' || $relation,
    o.option
FROM pg_foreign_table f JOIN $relations ON c.oid = f.ftrelid, unnest(f.ftoptions) o(option);
SELECT 'is', 's' || v.oid, '',
    'the options of server ' || v.srvname,
    array_to_string(v.srvoptions, ', ')
FROM pg_foreign_server v
WHERE v.srvoptions IS NOT NULL;

-- group search: pg_ts_config_map pg_ts_dict
SELECT 'has', 'y' || m.mapcfg || '.' || m.maptokentype || '.' || m.mapdict, '',
    'dictionary ' || m.mapdict::regdictionary || ' from text search configuration '
        || m.mapcfg::regconfig,
    ''
FROM pg_ts_config_map m
WHERE m.mapcfg >= 16384;
SELECT 'is', 'pg_ts_dict.' || d.oid || '.options', '',
    'the options of ' || d.oid::regdictionary,
    coalesce(d.dictinitoption, 'none')
FROM pg_ts_dict d
WHERE d.oid >= 16384;

-- group events: pg_event_trigger
SELECT 'is', 'pg_event_trigger.' || e.oid || '.enabled', '',
    'when event trigger ' || e.evtname || ' fires',
    CASE e.evtenabled WHEN 'O' THEN 'enabled' WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica'
        ELSE 'always' END
FROM pg_event_trigger e;

-- group comments: pg_description
SELECT 'noted', 'c' || d.classoid || '.' || d.objoid || '.' || d.objsubid,
    CASE d.classoid WHEN 'pg_class'::regclass THEN
        CASE d.objsubid WHEN 0 THEN 'r' || d.objoid ELSE 'a' || d.objoid || '.' || d.objsubid END
        WHEN 'pg_namespace'::regclass THEN 'n' || d.objoid
        WHEN 'pg_proc'::regclass THEN 'f' || d.objoid
        WHEN 'pg_type'::regclass THEN 't' || d.objoid
        WHEN 'pg_constraint'::regclass THEN 'k' || d.objoid
        WHEN 'pg_trigger'::regclass THEN 'g' || d.objoid
        WHEN 'pg_policy'::regclass THEN 'p' || d.objoid
        ELSE d.classoid::regclass || '.' || d.objoid END,
    'the comment on ' || pg_describe_object(d.classoid, d.objoid, d.objsubid),
    ''
FROM pg_description d
WHERE d.objoid >= 16384 AND d.classoid <> 'pg_extension'::regclass;
