"""Chinese words of tools and data, in English.

Owns a word list, so that an entry described in Chinese is found by an English prompt and the other way round; static
embeddings barely bridge the two. Pure. Not a translator: what is not in the list is passed over.

Chinese, because next to English it is the language many public MCP servers describe their tools in. The list holds
words that any tool may use, and the best known platforms under the name they go by elsewhere; other names of places,
people and things do not belong here.
"""

from __future__ import annotations

import re

_PAIRS = """
天气 weather|气温 temperature|预报 forecast|气象 weather|空气质量 air quality|温度 temperature|湿度 humidity
地图 map|地址 address|经纬度 latitude longitude coordinates|坐标 coordinates|经度 longitude|纬度 latitude|位置 location
定位 locate location|地理编码 geocode|逆地理编码 reverse geocode|附近 nearby|周边 nearby around|地点 place
景点 attraction|路线 route|路径规划 route planning|规划 plan|导航 navigation|距离 distance|步行 walking|驾车 driving
骑行 cycling|公交 bus transit|地铁 subway metro|城市 city|省份 province|国家 country|地区 region|区域 area region
街道 street|酒店 hotel|餐厅 restaurant|旅游 travel tourism|旅行 travel trip|行程 itinerary trip
火车 train rail|高铁 high-speed train|铁路 railway|列车 train|车站 station|车次 train number|车票 train ticket
门票 admission ticket|票价 ticket price fare|航班 flight|机场 airport|机票 flight ticket
出发 departure|到达 arrival|中转 transfer|换乘 transfer
日期 date|时间 time|时区 timezone|日历 calendar|当前 current|今天 today|明天 tomorrow|昨天 yesterday
农历 lunar calendar|阳历 solar calendar|生肖 zodiac|星座 horoscope|节日 holiday|假期 holiday|提醒 reminder
日程 schedule|会议 meeting
搜索 search|查询 query look up|查找 find|检索 retrieve search|获取 get|读取 read|写入 write|保存 save|创建 create
新建 create new|删除 delete|更新 update|修改 modify edit|编辑 edit|添加 add|插入 insert|移动 move|复制 copy
重命名 rename|列出 list|列表 list|打开 open|关闭 close|启动 start|停止 stop|执行 execute run|运行 run|发送 send
接收 receive|上传 upload|下载 download|导入 import|导出 export|转换 convert|生成 generate|绘制 draw
分析 analyze analysis|统计 statistics count|计算 calculate|比较 compare|排序 sort|过滤 filter|筛选 filter|合并 merge
拆分 split|验证 verify validate|检查 check|监控 monitor|管理 manage|配置 configuration|设置 settings|登录 login
注册 register|发布 publish|订阅 subscribe|翻译 translate translation|总结 summarize|摘要 summary|推荐 recommend
识别 recognize|解析 parse|提取 extract|截图 screenshot|点击 click
文件 file|文件夹 folder|目录 directory|路径 path|文档 document|表格 table spreadsheet|电子表格 spreadsheet
工作表 worksheet|单元格 cell|幻灯片 slide|演示文稿 presentation|文本 text|内容 content|标题 title|段落 paragraph
格式 format|模板 template|图片 image picture|图像 image|照片 photo|视频 video|音频 audio|音乐 music|歌曲 song
歌词 lyrics|语音 speech voice|图表 chart|词云 word cloud|柱状图 bar chart|折线图 line chart|饼图 pie chart
二维码 qr code
网页 web page|网站 website|网络 network web|链接 link url|浏览器 browser|互联网 internet|必应 bing|百度 baidu
谷歌 google|微信 wechat|微博 weibo|知乎 zhihu|抖音 douyin tiktok|哔哩哔哩 bilibili|豆瓣 douban
小红书 xiaohongshu rednote|淘宝 taobao|京东 jd|支付宝 alipay|钉钉 dingtalk|飞书 feishu lark
新闻 news|热搜 trending hot search|热门 popular trending|热点 trending hot topics|热榜 trending ranking
榜单 ranking list|排行 ranking|排行榜 ranking leaderboard|趋势 trend|最新 latest|实时 real-time|资讯 news information
话题 topic|评论 comments|帖子 post|文章 article|作者 author|用户 user|粉丝 followers|关注 follow|点赞 like|分享 share
社区 community
股票 stock|基金 fund|行情 market quotes|价格 price|汇率 exchange rate|货币 currency|加密货币 cryptocurrency
财经 finance|金融 finance|财务 financial|公司 company|企业 company enterprise|行业 industry|市场 market
交易 trade transaction|订单 order|支付 payment|账户 account|银行 bank|收入 income revenue|预算 budget|发票 invoice
商品 product|电商 e-commerce
数据 data|数据库 database|数据集 dataset|字段 field|记录 record|索引 index|接口 api|参数 parameter|关键词 keyword
关键字 keyword|代码 code|编程 programming|仓库 repository|分支 branch|提交 commit|部署 deploy|服务器 server|日志 log
容器 container|函数 function|脚本 script|命令 command|终端 terminal|任务 task|项目 project|测试 test|错误 error
版本 version|依赖 dependency
论文 paper|学术 academic|文献 literature|研究 research|大学 university|学校 school|学生 student|教育 education
课程 course|考试 exam|知识 knowledge|百科 encyclopedia|书籍 book|图书 book|小说 novel|阅读 reading|电影 movie
电视剧 tv series|综艺 variety show|动漫 anime|游戏 game|角色 character|体育 sports
足球 football soccer|篮球 basketball|比赛 match
医疗 medical|医院 hospital|疾病 disease|药物 drug medicine|健康 health|菜谱 recipe|食谱 recipe|食物 food|菜品 dish
营养 nutrition|家庭 family home|房产 real estate|汽车 car|招聘 recruitment jobs|简历 resume|法律 law legal
政府 government
信息 information|详情 details|详细 detailed|名称 name|类型 type|分类 category|标签 tag|数量 quantity number
编号 id number|邮件 email|邮箱 email mailbox|短信 sms|电话 phone|消息 message|通知 notification|联系人 contact
聊天 chat|机器人 robot bot|人工智能 artificial intelligence|模型 model|智能 intelligent smart
"""

_ENGLISH: dict[str, str] = {}
for _pair in _PAIRS.replace("\n", "|").split("|"):
    _word, _, _meaning = _pair.partition(" ")
    if _word:
        _ENGLISH[_word] = _meaning

_WORD = re.compile("|".join(sorted(_ENGLISH, key=lambda word: (-len(word), word))))


def english(text: str) -> str:
    """Return the English of the listed words in `text`, in order, repetitions included; "" when there are none."""
    return "" if text.isascii() else " ".join(_ENGLISH[word] for word in _WORD.findall(text))
