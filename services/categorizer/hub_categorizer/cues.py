"""The words that give a category away: names of products, then words about what is done.

Pure data, read by `taxonomy`, which owns how they are weighed. Words are singular and in lower case; `pull_request` is
two words in a row. A product counts most where it names the upstream; words count wherever they stand.
"""

from __future__ import annotations

from typing import NamedTuple


class Cues(NamedTuple):
    """What points at one category: `products` by name, then words of falling weight."""

    products: str
    strong: str
    plain: str
    weak: str


BUILT_IN: dict[str, Cues] = {
    "filesystem": Cues(
        products="""
            filesystem file_system filesystems fs files gdrive google_drive dropbox onedrive box_com sharepoint ftp
            sftp nextcloud obsidian everything_search markitdown pandoc docx pptx xlsx pdf excel powerpoint ppt
            word_document text_editor google_sheet google_doc google_slide office_word""",
        strong="""
            file directory folder filesystem filename filepath path_to csv_file pdf spreadsheet workbook worksheet
            docx pptx xlsx zip archive disk directory_tree 文件 目录 文件夹""",
        plain="""
            document sheet slide presentation cell markdown paragraph page_break footnote path rename attachment
            ebook epub drive word_document powerpoint excel 文档""",
        weak="read write copy edit append save open text export",
    ),
    "web": Cues(
        products="""
            fetch http https browser playwright puppeteer selenium chrome chromium firefox browserbase browserless
            stagehand firecrawl crawl4ai scrapy scraper scraping crawler apify oxylabs brightdata bright_data curl
            requests webpage website sitemap rag_web_browser hyperbrowser steel youtube_transcript bilibili scrappey
            browserstack cloudflare_browser youtube yt_dlp wordpress sitecore contentful strapi sanity webflow
            shopify drupal ghost_cms web_browser url puppeteer_real_browser""",
        strong="""
            url webpage web_page website web_site browser scrape scraper scraping crawl crawling html http sitemap
            hyperlink web_content navigate_to screenshot css_selector cookie 网页 网站 浏览器 链接""",
        plain="""
            navigate click hover scroll tab download link internet user_agent transcript video youtube select_option
            press_key viewport mouse_action
            alert_dialog feed rss whois domain_name dns ssl seo webhook site graphql playlist channel_video
            shorten qr_code ip_address geolocation""",
        weak="request online web page extract fetch domain",
    ),
    "search": Cues(
        products="""
            brave brave_search tavily exa google_search serper serpapi bing duckduckgo ddg searxng kagi perplexity
            jina linkup wikipedia wikidata arxiv pubmed semantic_scholar google_scholar crossref openalex scholar
            hackernews hacker_news hn reddit google_map amap kakao_map osm openstreetmap mapbox yahoo_finance yfinance
            alpha_vantage twelvedata coingecko coinmarketcap polygon_io finnhub edgar weather openweather
            accuweather airbnb amadeus tmdb imdb pinterest zotero context7 deepwiki perplexity web_search algolia
            meilisearch open_library nasa biomcp clinical_trial 12306 unsplash shodan virustotal newsapi dblp
            hugging_face huggingface kaggle zillow yelp tripadvisor foursquare steam opendota""",
        strong="""
            search_engine web_search full_text_search search_result search_for search_the semantic_search 搜索 检索""",
        plain="""
            search find lookup look_up searcher seek weather forecast news article paper stock stock_price ticker
            exchange_rate price quote market trending wiki encyclopedia geocode postal_code zip_code nearby place
            direction route flight hotel listing citation journal abstract literature bibliography dictionary
            definition headline real_time latest_news historical_data recommend recommendation discover
            knowledge_base research 查询 天气 新闻 股票 获取""",
        weak="""
            query retrieve explore information detail fact compare recipe movie book song music player match game
            team league champion hero character card token coin crypto cryptocurrency bitcoin currency fund company
            product restaurant travel trip museum event city country location coordinate distance map station train
            airport earnings dividend trend ranking leaderboard rating review statistic job nutrition food drug gene
            protein variant disease compound species earthquake asteroid astronomy mars satellite
            air_quality temperature tide train_ticket lyric anime podcast album artist author patent law legislation
            election census population vehicle car property real_estate shop shopping coupon deal job_listing course
            lecture lesson verse chapter university college""",
    ),
    "database": Cues(
        products="""
            postgres postgresql mysql mariadb mongo mongodb sqlite sqlite3 db redis supabase neon duckdb clickhouse
            bigquery snowflake oracle mssql sqlserver sql_server elasticsearch opensearch neo4j cassandra dynamodb
            firestore couchbase couchdb influxdb prisma pinecone qdrant chroma chromadb milvus weaviate pgvector
            airtable pocketbase memory mem0 knowledge_graph kuzu nocodb tidb planetscale turso motherduck database
            metabase dune lancedb databricks kingbase surrealdb arangodb cockroachdb trino presto hive dbt skysql
            spanner dataset_viewer memgraph graphiti zep redshift timescale fauna xata hasura google_analytics
            plausible posthog mixpanel amplitude""",
        strong="""
            sql database table_schema postgres postgresql mysql sqlite mongodb sql_query knowledge_graph
            vector_store vector_database embedding primary_key foreign_key stored_procedure nosql db 数据库 数据表""",
        plain="""
            table schema row column record collection query index entity relation dataset dataframe aggregate
            aggregation join observation memory warehouse data_source graph_database datastore key_value upsert
            sorted_set hash_field metabase_card dashboard_card""",
        weak="insert select field data node store dump",
    ),
    "version-control": Cues(
        products="""
            git github gitlab gitea bitbucket gitee atomgit gerrit gitkraken svn mercurial codecommit sourcegraph""",
        strong="""
            git pull_request merge_request commit github gitlab repository gitea repo git_repository bitbucket
            code_review 仓库""",
        plain="branch fork cherry_pick rebase diff changelist stash blame release_note checkout submodule",
        weak="merge push pull clone contributor",
    ),
    "docker": Cues(
        products="""
            docker container kubernetes k8s helm kubectl podman portainer openshift docker_compose dockerhub
            docker_hub rancher argocd istio containerd""",
        strong="""
            docker kubernetes k8s kubectl helm_chart dockerfile container docker_compose namespace_pod pod
            containerd docker_image 容器""",
        plain="deployment_rollout compose namespace replica_set daemonset statefulset ingress kube",
        weak="pod_log",
    ),
    "cloud": Cues(
        products="""
            aws gcp azure s3 ec2 lambda cloudflare vercel netlify heroku digitalocean linode hetzner google_cloud
            cloud_run alibabacloud aliyun alibaba_cloud tencent_cloud terraform pulumi grafana prometheus datadog
            newrelic new_relic sentry pagerduty vertex vertex_ai railway render fly_io runpod ovh oci cloudwatch
            proxmox vmware minio loki victorialog victoriametrics splunk honeycomb dynatrace ansible nomad consul
            kong higress okta rootly netbird modal replicate azure_cli firebase appwrite nginx tailscale opsgenie
            edgee pulsar kafka rabbitmq signoz lightdash""",
        strong="""
            aws azure gcp google_cloud ec2 s3_bucket bucket serverless cloudformation terraform iam cloudwatch
            cloud_storage load_balancer virtual_machine kubernetes_cluster lke vpc firewall nodebalancer
            object_storage cloud 云服务""",
        plain="""
            deploy deployment instance cluster region monitor metric alert dashboard infrastructure server_log
            incident scaling volume snapshot provision datasource subnet billing uptime alarm dns_record hosting
            workspace_run backup linode log_query trace tracing observability service_account ssh_key sandbox gpu
            pipeline_run alert_rule oncall edge_function worker""",
        weak="resource environment service status network host log project_id quota",
    ),
    "development": Cues(
        products="""
            npm pip pypi cargo crates maven gradle nuget rubygem rubygems compiler linter formatter eslint pytest
            jest jira linear figma storybook shadcn swagger openapi postman vscode jetbrains xcode jupyter notebook
            code_runner code_executor python_exec code_interpreter desktop_commander terminal shell iterm cli ssh
            leetcode sonarqube snyk semgrep circleci jenkins github_action buildkite magicuidesign ant_design nixos
            unity unreal godot ida ghidra
            mobile mobile_device simulator emulator adb playwright_codegen mermaid uml plantuml devops azure_devops
            openproject backlog shortcut clickup launchdarkly growthbook rust_doc foundry hardhat regex npm_sentinel
            sequential_thinking sequentialthinking taskmanager task_master taskqueue sbom chart antv echart sympy
            applescript osascript claude_code cursor langfuse langsmith""",
        strong="""
            source_code codebase code compile compiler linter unit_test test_case debugger debug package_manager
            dependency npm_package build_tool sdk api_documentation library_documentation code_execution
            execute_command shell_command terminal python_code javascript typescript python_script run_code
            ui_component openapi swagger api_spec stack_trace refactor programming 代码""",
        plain="""
            package build test lint function class_definition component framework library documentation install
            script command shell python java rust golang react vue svelte tailwind api_endpoint endpoint sprint
            backlog ticket issue bug regex vulnerability mermaid diagram developer prompt codegen uml scaffold
            boilerplate plugin module feature_flag release version workflow execute process llm model inference
            benchmark artifact contract ide figma design_system icon chart base64 encode decode hash uuid json yaml
            xml security_scan exploit packet sandboxed automation applescript jupyter notebook 组件""",
        weak="run project variable validate configuration config task plan",
    ),
    "communication": Cues(
        products="""
            slack email discord team teams gmail outlook telegram whatsapp twilio sendgrid resend mailgun mailchimp
            imap smtp zoom google_calendar calendar notion trello todoist asana monday intercom zendesk hubspot
            salesforce twitter x_com linkedin facebook instagram mastodon bluesky threads line wechat weixin lark
            feishu dingtalk matrix signal vonage ntfy pushover mattermost rocketchat webex skype kakao basecamp
            confluence teamwork ticktick google_workspace meta_ad mail google_form typeform granola fireflies otter
            attio pipedrive crm yuque hackmd evernote onenote apple_note bear_note logseq raindrop xhs
            xiaohongshu weibo bulksms v2ex interactive_feedback lara_translate deepl""",
        strong="""
            email e_mail inbox mailbox slack discord telegram whatsapp sms chat_message direct_message send_message
            send_email post_message tweet calendar calendar_event meeting google_calendar invite voicemail
            phone_call twitter linkedin facebook instagram newsletter mail 邮件 消息""",
        plain="""
            message channel chat recipient contact notification notify conversation reply comment attendee
            participant reminder post follower subscriber mention customer crm lead campaign feedback survey
            appointment schedule_meeting social_media to_do todo note task_list notebook workspace_member translate
            translation transcript_meeting user_profile form interview card checklist
            vault resume audience ad_set ad_account board
            kanban bookmark""",
        weak="send share user member group people person call announce",
    ),
}

ELSEWHERE = Cues(
    products="""
        ableton blender maya sketchup cinema4d spotify sonos home_assistant homeassistant hass homekit philips_hue
        minecraft garmin strava fitbit everything""",
    strong="midi 3d texture mesh drum synthesizer smart_home thermostat text_to_speech timezone unit_conversion",
    plain="scene voice speech melody chord tempo game arithmetic music_generation image_generation heart_rate workout",
    weak="clip track",
)
"""What points at none of these: `other` is what is left, and these are known to be left."""

_ORDINARY_WORDS = """
    airtable backlog basecamp box_com brave calendar chart cli consul container crawler cursor database exa fetch
    file hive lambda line linear loki mail matrix memory modal monday nasa neon nomad notebook notion okta
    oracle outlook presto prisma rancher render replicate requests resend scholar sentry shell shortcut signal slack
    ssh steam steel team terminal thread unity url weather website"""

_EMPTY = """
    agent api app cloud code golang java javascript project python react rust server service test tool typescript"""

ORDINARY_WORDS = frozenset(_ORDINARY_WORDS.split())
"""Products whose names are words of the language: they count where they name the upstream, or alone name the entry."""

EMPTY_IN_UPSTREAM_NAMES = frozenset(_EMPTY.split())
"""In an upstream's name these tell how it is built or hosted, not what it does."""
